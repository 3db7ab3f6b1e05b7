"""The form between checkpoint, ONNX and C."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import ExportError
from firmware_export.network import Activation, Clip, Dense, Network, Scale


def f32(*values):
    return np.array(values, np.float32)


def test_forward_is_the_chain_of_its_layers():
    net = Network(
        ("a", "b"),
        (
            Scale(f32(1, 0), f32(2, 1)),
            Dense(np.array([[1, 2], [3, 4], [0, -1]], np.float32), f32(0.5, 0, 0)),
            Activation("relu"),
            Dense(np.array([[1, 1, 1]], np.float32), f32(-1)),
            Clip(f32(-3), f32(np.inf)),
        ),
        ("y",),
    )
    assert net.widths == (2, 2, 3, 3, 1, 1)
    assert net.products == 9
    # x = (2, 1): scaled (2, 1), dense (4.5, 10, -1), relu (4.5, 10, 0), sum 14.5 - 1
    assert net.forward([2.0, 1.0]).tolist() == [[13.5]]
    assert net.forward([[2.0, 1.0], [-9.0, -9.0]]).shape == (2, 1)


@pytest.mark.parametrize(
    ("layer", "at", "wanted"),
    [
        (Activation("tanh"), 0.5, np.tanh(0.5)),
        (Activation("sigmoid"), -2.0, 1 / (1 + np.exp(2.0))),
        (Activation("leaky_relu", 0.1), -3.0, -0.3),
        (Activation("elu", 1.5), -1.0, 1.5 * (np.exp(-1.0) - 1)),
        (Activation("softsign"), -3.0, -0.75),
    ],
)
def test_activations(layer, at, wanted):
    assert Network(("x",), (layer,), ("y",)).forward([at])[0, 0] == pytest.approx(wanted, abs=1e-15)


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ExportError, match=r"layer 0 \(dense\) takes 3 numbers and is given 2"):
        Network(("a", "b"), (Dense(np.ones((1, 3), np.float32), f32(0)),), ("y",))
    with pytest.raises(ExportError, match="2 outputs"):
        Network(("a",), (Dense(np.ones((1, 1), np.float32), f32(0)),), ("y", "z"))


def test_what_is_not_finite_is_refused():
    with pytest.raises(ExportError, match=r"layer 1 \(scale\): gain holds NaN or infinity"):
        Network(("a",), (Activation("tanh"), Scale(f32(0), f32(np.nan))), ("y",))
    with pytest.raises(ExportError, match="low holds NaN"):
        Network(("a",), (Clip(f32(np.nan), f32(1)),), ("y",))
