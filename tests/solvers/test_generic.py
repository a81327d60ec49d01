"""Generic functions: the same implementation in Python and in compiled code; errors say what is missing."""

from typing import NamedTuple

import numba
import numpy as np
import pytest

from sparsemodels.solvers.generic import generic, require
from sparsemodels.solvers.kernel import kernel

compiled_only = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="asks for the compiler's own dispatch")


class Square(NamedTuple):
    side: float


class Rectangle(NamedTuple):
    width: float
    height: float


class Circle(NamedTuple):
    radius: float


class NamedSquare(Square):
    """Derived from a record: Python follows the base, compiled code does not."""


@generic
def area(shape, scale):
    raise TypeError(f"no area: {type(shape).__name__}")


@area.register(Square)
def _(shape, scale):
    return scale * shape.side**2


@area.register(Rectangle)
def _(shape, scale):
    return scale * shape.width * shape.height


@area.register(np.ndarray)
def _(shape, scale):
    return scale * shape.sum()


@generic
def perimeter(shape):
    raise TypeError


@kernel(cache=False)
def double_area(shape):
    return area(shape, 2.0)


SHAPES = [
    (Square(3.0), 18.0),
    (Rectangle(2.0, 5.0), 20.0),
    (np.arange(4.0), 12.0),
    (np.arange(4, dtype=np.float32).reshape(2, 2), 12.0),
]


@pytest.mark.parametrize(("shape", "expected"), SHAPES, ids=lambda value: type(value).__name__)
def test_python_and_compiled_code_agree(shape, expected):
    assert area(shape, 2.0) == expected
    assert double_area(shape) == expected


def test_records_inside_a_loop_over_one_kernel():
    @kernel(cache=False)
    def total(shape, count):
        result = 0.0
        for k in range(count):
            result += area(shape, float(k))
        return result

    assert total(Square(2.0), 4) == 4.0 * (0 + 1 + 2 + 3)
    assert total(Rectangle(1.0, 3.0), 4) == 3.0 * (0 + 1 + 2 + 3)


def test_implementation_needs_the_parameter_names_of_the_stub():
    with pytest.raises(
        TypeError, match=r"area takes the parameters \(shape, scale\), got \(circle, scale\) for Circle"
    ):

        @area.register(Circle)
        def _(circle, scale):
            return scale * 3.0 * circle.radius**2

    assert Circle not in area.registry


def test_unregistered_class_runs_the_stub():
    with pytest.raises(TypeError, match="no area: Circle"):
        area(Circle(1.0), 1.0)


@compiled_only
def test_unregistered_class_fails_at_typing():
    with pytest.raises(numba.TypingError, match="Circle"):
        double_area(Circle(1.0))


@compiled_only
def test_compiled_code_matches_the_class_exactly():
    assert area(NamedSquare(3.0), 1.0) == 9.0
    with pytest.raises(numba.TypingError, match="NamedSquare"):
        double_area(NamedSquare(3.0))


def test_require_names_every_missing_function():
    require(Square(1.0), {"area": area}, "the shape")
    with pytest.raises(TypeError, match=r"the shape Circle cannot be solved: .* no implementation of area, perimeter"):
        require(Circle(1.0), {"area": area, "perimeter": perimeter}, "the shape")
    with pytest.raises(TypeError, match=r"no implementation of perimeter$"):
        require(Square(1.0), {"area": area, "perimeter": perimeter}, "the shape")
