"""Generic functions: one name, one implementation per record class, in Python and inside compiled code alike."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload


def generic(stub: Callable) -> Any:
    """Dispatch a function on the class of its first argument, in plain Python and in compiled code.

    Parameters
    ----------
    stub : callable
        The function's declaration; its body is what happens for a class nobody registered.

    Returns
    -------
    callable
        The generic function. ``function.register(cls)`` decorates the implementation for one record class (a
        ``typing.NamedTuple``) or ``numpy.ndarray``; it takes the stub's parameter names.
        ``function.registry`` holds the classes known so far.

    Notes
    -----
    In Python the class is looked up along its bases, in compiled code it must match exactly: derive no class from a
    record. Register only classes of your own: another `prox` for a class of the package would be cached under its
    name.

    Examples
    --------
    >>> from typing import NamedTuple
    >>> from sparsemodels.solvers.generic import generic
    >>> @generic
    ... def area(shape):
    ...     raise TypeError
    >>> class Square(NamedTuple):
    ...     side: float
    >>> @area.register(Square)
    ... def _(shape):
    ...     return shape.side**2
    >>> area(Square(3.0))
    9.0
    """
    function = functools.singledispatch(stub)
    names = ", ".join(inspect.signature(stub).parameters)
    first = names.split(",")[0]
    python_register = function.register

    def register(cls):
        def decorate(implementation):
            given = ", ".join(inspect.signature(implementation).parameters)
            if given != names:
                raise TypeError(
                    f"an implementation of {stub.__name__} takes the parameters ({names}), "
                    f"got ({given}) for {cls.__name__}"
                )
            python_register(cls, implementation)
            # The typer needs the stub's own parameter names: Numba matches them.
            scope = {"matches": _matches, "cls": cls, "implementation": implementation}
            exec(f"def typer({names}):\n    return implementation if matches({first}, cls) else None", scope)
            # Without Numba's wrapper for callers in C, which nobody calls: see `kernel`.
            overload(function, inline="never", jit_options={"no_cfunc_wrapper": True})(scope["typer"])
            return implementation

        return decorate

    function.register = register  # type: ignore[method-assign,assignment]
    return function


def _matches(numba_type, cls) -> bool:
    if cls is np.ndarray:
        return isinstance(numba_type, types.Array)
    return getattr(numba_type, "instance_class", None) is cls


def require(record: Any, functions: dict[str, Any], role: str) -> None:
    """Check that a record's class registered every generic function a solver calls.

    Parameters
    ----------
    record : NamedTuple
        A penalty, a loss or a design.
    functions : dict of str to generic function
        What the solver needs, by name.
    role : str
        What the record is to the solver, for the message.

    Raises
    ------
    TypeError
        Naming all functions that are missing.
    """
    cls = type(record)
    missing = [name for name, function in functions.items() if cls not in function.registry]
    if missing:
        raise TypeError(
            f"{role} {cls.__name__} cannot be solved: it registers no implementation of {', '.join(missing)}"
        )
