"""tanh, sigmoid, elu and softsign of generated C: within a unit of 2^-23 on a part of all float32, and as in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.float_functions import measure
from firmware_export.float_functions import activate
from firmware_export.network import Activation, activation


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return measure(4099, tmp_path_factory.mktemp("functions"))  # a prime: a million patterns of all kinds


@pytest.mark.parametrize(
    ("name", "error", "largest"),
    [("tanh", 0.76, 1.0), ("sigmoid", 1.0, 1.0), ("elu", 0.37, 1.0), ("softsign", 0.75, 1.0)],
)
def test_error_range_and_nan(name, error, largest, found):
    result = found[name]
    assert result.wrong_nan == 0
    assert error / 2 < result.error <= error
    assert result.largest <= largest


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign"])
def test_numpy_twin_is_near_the_exact_function_and_keeps_nan(kind):
    layer = Activation(kind, 0.3)
    x = np.concatenate([np.linspace(-20, 20, 20001), [0.0, -0.0, 1e-45, -1e-38, 88.0, -104.0, 1e30, -1e30]])
    x = x.astype(np.float32)
    allowed = 2.0**-23 * np.maximum(1, np.abs(x) if "lu" in kind else 0)
    assert (np.abs(activate(layer, x) - activation(layer, x.astype(np.float64))) <= allowed).all()
    assert np.isnan(activate(layer, np.float32([np.nan]))).all()
    limits = activate(layer, np.float32([np.inf, -np.inf])).tolist()
    if kind == "tanh":
        assert limits == [1, -1]
    elif kind == "sigmoid":
        assert limits[0] == 1
        assert 0 <= limits[1] < 1e-37
