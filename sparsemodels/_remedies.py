"""What to do about a fit that ended before its tolerance, by the status of its solution: the end of a warning."""

REMEDIES = {
    "max_iter": "increase max_iter or tol",
    "stalled": "the tolerance is below what float64 allows for this problem: increase tol",
    "time_limit": "the time_limit was reached: increase it or tol",
    "stopped": "a callback stopped the fit",
    "interrupted": "the fit was interrupted",
}
