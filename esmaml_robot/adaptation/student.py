"""Student's t: how far a mean of few values may be off."""

from __future__ import annotations

import numpy as np

#: 97.5 % quantiles for 1, 2, ... degrees of freedom
_T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


def t975(df: int) -> float:
    """The 97.5 % quantile with `df` (1 or more) degrees of freedom: half a two-sided 95 % interval, in errors.

    Beyond the table by the expansion of Fisher and Cornish (1960) about the normal quantile, to 0.05 %.
    """
    return _T975[df - 1] if df <= len(_T975) else 1.95996 + 2.37227 / df + 2.82250 / df**2


def t975_single(df: int) -> np.float32:
    """`t975` in float32 operations, as firmware_export/runtime/moments.c has it."""
    if df <= len(_T975):
        return np.float32(_T975[df - 1])
    n = np.float32(df)
    return np.float32(1.95996) + np.float32(2.37227) / n + np.float32(2.82250) / (n * n)
