"""The numerics of sparsemodels: arrays in, a solution with its certificate out."""

if __name__ != "sparsemodels.solvers":
    # Imported as a global `solvers`, kernels would enter Numba's disk cache under a module name that no other
    # process can import; every later start would fail (numba#7075). So refuse before anything is compiled.
    raise ImportError("this folder is the package 'sparsemodels.solvers'; import it by that name")
