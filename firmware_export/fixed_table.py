"""tanh in integers: a table of 257 numbers and a straight line between them.

An argument is a 16-bit integer z that stands for (z + 1/2) D / 32768, a result a 16-bit integer y that stands for
(y + 1/2) / 2^f. Both are what rounding down leaves, so nothing has to be rounded to nearest on the way, and since
~z = -z - 1 the function is odd exactly: y(~z) = ~y(z).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

#: tanh is tabulated on [-DOMAIN, DOMAIN]; beyond, an argument counts as the end. 1 - tanh(6) = 1.2e-5.
DOMAIN = 6.0
SEGMENTS = 256


@dataclass(frozen=True, eq=False)
class TanhTable:
    """The numbers at the ends of the segments (SEGMENTS + 1,), and the largest error over all arguments."""

    fraction: int
    values: I64
    error: float

    def __call__(self, z: I64) -> I64:
        """16-bit arguments to 16-bit results, any shape."""
        return _interpolate(self.values, z)


def _interpolate(values: I64, z: I64) -> I64:
    sign = z >> 15  # 0 or -1
    place = (z ^ sign) << 1
    segment, rest = place >> 8, place & 255
    low = values[segment]
    y: I64 = low + (((values[segment + 1] - low) * rest) >> 8)
    return y ^ sign


@lru_cache(maxsize=8)
def tanh_table(fraction: int) -> TanhTable:
    """The table for results with `fraction` bits behind the point, 8 to 15."""
    step = DOMAIN / SEGMENTS
    at = np.arange(SEGMENTS + 1) * step + 0.5 * DOMAIN / 32768
    exact = np.tanh(at)
    # A chord of a concave arc lies below it by up to h^2 |f''| / 8. Ends that lie above it by half of that halve the
    # error.
    bulge = step * step / 16 * np.abs(2 * exact * (1 - exact * exact))
    values = np.minimum(np.rint(2.0**fraction * (exact + bulge)), 2.0**fraction - 1).astype(np.int64)
    z = np.arange(32768)
    found = (_interpolate(values, z) + 0.5) / 2.0**fraction
    error = max(np.abs(found - np.tanh((z + 0.5) * DOMAIN / 32768)).max(), 1 - found[-1])
    return TanhTable(fraction, values, float(error))
