"""Rounding the weights of a layer so that the layer's sums stay right, not each weight by itself.

Weights are rounded one column after another; what a column's rounding does wrong is taken up by the columns that are
still to come, as far as they move together in calibration. The least-squares form of it is Frantar et al., "GPTQ", ICLR
2023, section 3, after the second-order pruning of Hassibi and Stork, 1992.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

#: Share of the mean variance that is added to each: directions that calibration hardly shows are left as they are.
DAMPING = 0.01


def round_rows(weight: F64, x: I64, limit: int) -> I64:
    """Whole numbers within +-limit for (rows, columns) weights; x are the columns' values in calibration, (n, columns).

    The mean of x is not held against them: a bias takes it up.
    """
    centred = x - x.mean(axis=0)
    moments = centred.T @ centred / len(x)
    level = float(np.trace(moments)) / len(moments)
    if level == 0:
        return np.clip(np.rint(weight), -limit, limit).astype(np.int64)
    moments += DAMPING * level * np.eye(len(moments))
    upper = np.linalg.cholesky(np.linalg.inv(moments)).T
    left = weight.copy()
    rounded = np.empty(weight.shape, np.int64)
    for column in range(weight.shape[1]):
        rounded[:, column] = np.clip(np.rint(left[:, column]), -limit, limit)
        wrong = (left[:, column] - rounded[:, column]) / upper[column, column]
        left[:, column + 1 :] -= wrong[:, None] * upper[column, column + 1 :]
    return rounded
