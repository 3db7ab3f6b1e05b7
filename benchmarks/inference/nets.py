"""The three nets that are measured, as plain data and as scikit-learn models with the same numbers.

Weights are a function of a seed: what an inference costs does not depend on training, and these are the same wherever
and with whichever version of scikit-learn the command runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LinearRegression
from sklearn.neural_network import MLPRegressor

from firmware_export.network import Activation, Dense, Layer, Network

F32 = npt.NDArray[np.float32]

#: Widths, first to last; hidden layers are tanh, the last one is linear.
SHAPES = {"lin28x8": (28, 8), "mlp8_32_4": (8, 32, 4), "mlp17_64_64_6": (17, 64, 64, 6)}
VECTORS = 16


@dataclass(frozen=True, eq=False)
class Net:
    """A net, what scikit-learn calls it, inputs (VECTORS, inputs) and the exact outputs (VECTORS, outputs)."""

    name: str
    network: Network
    model: Any
    inputs: F32
    outputs: npt.NDArray[np.float64]


def _model(layers: list[Dense], widths: tuple[int, ...], rng: np.random.Generator) -> Any:
    """scikit-learn's own object: fitted to noise for a moment, then given these numbers."""
    x, y = rng.normal(size=(64, widths[0])), rng.normal(size=(64, widths[-1]))
    if len(layers) == 1:
        linear = LinearRegression().fit(x, y)
        linear.coef_, linear.intercept_ = layers[0].weight.copy(), layers[0].bias.copy()
        return linear
    net = MLPRegressor(hidden_layer_sizes=widths[1:-1], activation="tanh", solver="lbfgs", max_iter=1, tol=1e9)
    net.fit(x, y)
    net.coefs_ = [layer.weight.T.copy() for layer in layers]
    net.intercepts_ = [layer.bias.copy() for layer in layers]
    return net


def make_net(name: str) -> Net:
    """A net by its name in SHAPES."""
    widths = SHAPES[name]
    rng = np.random.default_rng(list(widths))
    dense = [
        Dense(
            (rng.uniform(-1, 1, (n_out, n_in)) * np.sqrt(3 / n_in)).astype(np.float32),
            rng.uniform(-0.3, 0.3, n_out).astype(np.float32),
        )
        for n_in, n_out in pairwise(widths)
    ]
    layers: list[Layer] = [dense[0]]
    for layer in dense[1:]:
        layers += [Activation("tanh"), layer]
    network = Network(
        tuple(f"x{i}" for i in range(widths[0])), tuple(layers), tuple(f"y{i}" for i in range(widths[-1]))
    )
    inputs = rng.uniform(-1, 1, (VECTORS, widths[0])).astype(np.float32)
    return Net(name, network, _model(dense, widths, rng), inputs, network.forward(inputs))
