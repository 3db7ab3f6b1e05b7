"""Functions of float32 that C repeats bit for bit: clamp, tanh, relu and the clock's sine and cosine.

One rounding an operation, and no function of a mathematical library: those differ from platform to platform.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

# tanh(x) ~ x P(x^2) / Q(x^2) on |x| <= TANH_LIMIT, a weighted least-squares fit driven to equal ripple (relative
# error 1.5e-7 before rounding; 4.2e-7 absolute in float32, largest at |x| ~ 3). Lowest power first.
TANH_LIMIT = 8.0
TANH_P = (0.9999998807907104, 0.12925657629966736, 0.0029510182794183493, 1.142836390499724e-05)
TANH_Q = (1.0, 0.46258872747421265, 0.02381553128361702, 0.00023866837727837265, 2.4591921032879327e-07)

# arrays without axes and not scalars: numpy need not convert them at every call, which at batches of a few rows is a
# fifth of the time
_LOW, _HIGH = np.array(-TANH_LIMIT, dtype=np.float32), np.array(TANH_LIMIT, dtype=np.float32)
_P = [np.array(c, dtype=np.float32) for c in TANH_P]
_Q = [np.array(c, dtype=np.float32) for c in TANH_Q]
_ZERO = np.array(0, dtype=np.float32)


def clamp(x: F32, low: npt.ArrayLike, high: npt.ArrayLike, out: F32 | None = None) -> F32:
    """`x` limited to [low, high], into `out` or a new array; NaN stays NaN.

    Two ufuncs, which numpy runs three times faster than its clip.
    """
    raised: F32 = np.maximum(x, low, out=out)
    limited: F32 = np.minimum(raised, high, out=raised)
    return limited


class Scratch:
    """Room for the intermediate results of `tanh_in_place` on arrays of one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.square, self.p, self.q = (np.empty(shape, dtype=np.float32) for _ in range(3))


def tanh_in_place(x: F32, scratch: Scratch) -> None:
    """`x` becomes its tanh out of +, *, / and clip: the same bits as the C runtime's."""
    clamp(x, _LOW, _HIGH, out=x)
    t, p, q = scratch.square, scratch.p, scratch.q
    np.multiply(x, x, t)
    for powers, total in ((_P, p), (_Q, q)):
        np.multiply(t, powers[-1], total)
        for c in powers[-2:0:-1]:
            np.add(total, c, total)
            np.multiply(total, t, total)
        np.add(total, powers[0], total)
    np.multiply(p, x, p)
    np.divide(p, q, x)


def tanh32(x: F32) -> F32:
    """Tanh of float32 numbers of any shape; within 5e-7 of the true one, never beyond [-1, 1]; NaN stays NaN."""
    y: F32 = np.array(x, dtype=np.float32)
    tanh_in_place(y, Scratch(y.shape))
    return y


def relu_in_place(x: F32) -> None:
    """`x` becomes max(x, 0); NaN stays NaN and a zero is +0, whichever of two zeros the processor calls the larger."""
    np.maximum(x, _ZERO, out=x)
    np.add(x, _ZERO, x)


@lru_cache(maxsize=8)
def clock_table(steps: int) -> F32:
    """Sine and cosine of 2 pi k / steps for k = 0 .. steps - 1, shape (2, steps).

    Reduced to the first quarter in integers, so quarters are exactly 0, 1 and -1, and the rest is one call of a
    float64 function rounded to float32.
    """
    table = np.empty((2, steps), dtype=np.float32)
    for k in range(steps):
        quarter, rest = divmod(4 * k, steps)
        angle = 0.5 * math.pi * (rest / steps)
        sine, cosine = math.sin(angle), math.cos(angle)
        for _ in range(quarter):
            sine, cosine = cosine, -sine
        table[:, k] = sine, cosine
    table += _ZERO  # no -0
    table.flags.writeable = False  # it is shared
    return table
