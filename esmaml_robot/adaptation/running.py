"""Mean and spread of returns as they come, in float32 and in one order: what a controller repeats to the last bit.

Welford's recurrence ("Note on a method for calculating corrected sums of squares and products", Technometrics 1962):

    n += 1;   e = v - mean;   mean += e / n;   squares += e (v - mean)

Equal values leave a mean that is their value and a sum of squares that is zero, exactly. The C twin is
firmware_export/runtime/moments.c. A spread beyond float32 becomes infinite in both, without a warning.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

_COUNT, _MEAN, _SQUARES = 0, 1, 2

#: Decorates what computes with spreads: beyond float32 is not worth a warning.
quiet = np.errstate(over="ignore", invalid="ignore")


def nothing() -> F32:
    """Of no value: float32 (3,), how many, their mean, the sum of squared deviations from it."""
    return np.zeros(3, np.float32)


@quiet
def add(moments: F32, value: np.float32) -> F32:
    """With one more value."""
    n = moments[_COUNT] + np.float32(1)
    apart = value - moments[_MEAN]
    mean = moments[_MEAN] + apart / n
    return np.array([n, mean, moments[_SQUARES] + apart * (value - mean)], np.float32)


def of(values: Iterable[np.float32]) -> F32:
    """Of some values, in their order."""
    moments = nothing()
    for value in values:
        moments = add(moments, value)
    return moments


def count(moments: F32) -> int:
    return int(moments[_COUNT])


def mean(moments: F32) -> np.float32:
    """0 where there is no value."""
    return np.float32(moments[_MEAN])


def squares(moments: F32) -> np.float32:
    """Sum of squared deviations from the mean."""
    return np.float32(moments[_SQUARES])


def repeats(moments: F32) -> bool:
    """Whether there are two values or more, and all are the same."""
    return bool(moments[_COUNT] > 1 and moments[_SQUARES] == 0)
