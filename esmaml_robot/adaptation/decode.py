"""From differences of returns along directions to a gradient: a sum, or a regression.

Returns near x change by w_i = f(x + sigma g_i) - f(x) ~ sigma g_i . a, and a is wanted.

    mc       a = 1/(K sigma) sum_i w_i g_i                                  Monte Carlo, the ES gradient
    ridge    a = argmin  1/K |w/sigma - G a|^2 + r |a|^2                    with few directions, no spread of G
    lasso    a = argmin 1/2K |w/sigma - G a|^2 + r m |a|_1                  few parameters matter; m is the smallest
                                                                            weight at which a is zero

Regression in place of the sum: Choromanski et al., "Provably robust blackbox optimization for reinforcement learning"
(CoRL 2019), and the code published with ES-MAML. Both strengths r are free of scale.
Ridge and lasso are scikit-learn's, an extra: pip install 'esmaml-robot[regression]'.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError

F64 = npt.NDArray[np.float64]

DecoderKind = Literal["mc", "ridge", "lasso"]


@dataclass(frozen=True)
class Decoder:
    """Args: kind; strength r of the regularisation, which mc does not have.

    Raises:
        ConfigError: scikit-learn is needed and not installed.
    """

    kind: DecoderKind = "mc"
    strength: float = 0.1

    def __post_init__(self) -> None:
        if self.kind != "mc" and importlib.util.find_spec("sklearn") is None:
            raise ConfigError(
                f"the decoder {self.kind!r} needs scikit-learn, which is not installed; "
                "pip install 'esmaml-robot[regression]', or use the decoder 'mc'."
            )

    def gradient(self, rows: F64, weights: F64, sigma: float) -> F64:
        """The gradient, shape (d,), out of directions (K, d) and differences (K,) of returns."""
        if self.kind == "mc":
            total: F64 = (weights[:, None] * rows).sum(axis=0) / (len(rows) * sigma)
            return total
        correlations = (weights[:, None] * rows).sum(axis=0) / len(rows)
        largest = float(np.abs(correlations).max())
        if largest == 0.0:
            return np.zeros(rows.shape[1])
        linear_model = importlib.import_module("sklearn.linear_model")
        if self.kind == "ridge":
            model = linear_model.Ridge(alpha=self.strength * len(rows), fit_intercept=False, solver="cholesky")
        else:
            model = linear_model.Lasso(alpha=self.strength * largest, fit_intercept=False, max_iter=100_000, tol=1e-8)
        # one thread: a sum must not be ordered by how many cores there are
        with importlib.import_module("threadpoolctl").threadpool_limits(limits=1):
            model.fit(rows, weights)
        coefficients: F64 = np.asarray(model.coef_, dtype=np.float64)
        return coefficients / sigma


MONTE_CARLO = Decoder()
