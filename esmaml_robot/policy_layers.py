"""The flat layout of theta, the same in checkpoint, ONNX, C and on the wire, and the matrices that come out of it.

Layer after layer, for each layer its weights, then its bias b[n_out]. The weights are, with n = max(n_in, n_out):

    dense               W[n_out, n_in], row by row
    toeplitz            t[n_in + n_out - 1];  W[i, j] = t[i - j + n_in - 1]
    low_displacement    g[rank, n], then h[rank, n];  W = the first n_out rows and n_in columns of
                        sum over k of Z_1(g[k]) Z_-1(h[k])

    Z_f(v)[i, j] = v[i - j] for i >= j, else f v[n + i - j]        f-circulant, n x n: v is its first column

Toeplitz layers for policies: Choromanski et al., "Structured Evolution with Compact Architectures for Scalable Policy
Optimization", ICML 2018. Sums of such products are the matrices of displacement rank up to r: Sindhwani, Sainath,
Kumar, "Structured Transforms for Small-Footprint Deep Learning", NIPS 2015, section 3; a rectangular layer is the
corner of a square one.

No matrix is ever multiplied out: a layer runs as one stage y = b + W x, or, with low displacement rank, as two, the
inner one u[k] = Z_-1(h[k]) x for all k and the outer one y = b + sum over k of Z_1(g[k]) u[k]. The entries of a stage's
matrix are then parameters, some with their sign changed, and no arithmetic is between theta and the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .policy_spec import PolicySpec

F32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Layer:
    """Where the parameters of a layer are: weights theta[at:bias_at], bias theta[bias_at:end]."""

    inputs: int
    outputs: int
    at: int
    bias_at: int

    @property
    def end(self) -> int:
        return self.bias_at + self.outputs

    @property
    def size(self) -> int:
        """Order n of the square matrices that a low-displacement layer is cut out of."""
        return max(self.inputs, self.outputs)


@dataclass(frozen=True)
class Stage:
    """One product y = b + W x, read out of theta.

    Attributes:
        index: W[i, j] is theta[index[i, j]], shape (n_out, n_in).
        minus: where W[i, j] is minus that, shape (n_out, n_in); None is nowhere.
        bias: b is theta[bias]; None is a bias of zero.
        activated: a hidden layer ends here, so the activation follows.
    """

    index: Index
    minus: npt.NDArray[np.bool_] | None
    bias: slice | None
    activated: bool

    def weights(self, theta: F32) -> F32:
        """W of theta (d,), shape (n_out, n_in); of columns (d, B), shape (n_out, n_in, B)."""
        taken = theta[self.index]
        if self.minus is not None:
            np.negative(taken, out=taken, where=self.minus.reshape(self.minus.shape + (1,) * (theta.ndim - 1)))
        return taken


def layers_of(spec: PolicySpec) -> tuple[Layer, ...]:
    """The layers of a policy, first to last."""
    layers: list[Layer] = []
    for n_in, n_out in spec.shapes:
        at = layers[-1].end if layers else 0
        layers.append(Layer(n_in, n_out, at, at + spec.weights_of(n_in, n_out)))
    return tuple(layers)


def _circulants(first: int, rank: int, n: int) -> Index:
    """Places of Z_f(v[k])[i, j], f = 1 or -1, for v[rank, n] that begins at theta[first]; shape (rank, n, n)."""
    i, j = np.ogrid[:n, :n]
    places: Index = first + n * np.arange(rank)[:, None, None] + (i - j) % n
    return places


def _stages_of(spec: PolicySpec, layer: Layer, activated: bool) -> list[Stage]:
    n_in, n_out, bias = layer.inputs, layer.outputs, slice(layer.bias_at, layer.end)
    i, j = np.ogrid[:n_out, :n_in]
    if spec.displacement_rank is not None:
        rank, n = spec.displacement_rank, layer.size
        inner = _circulants(layer.at + rank * n, rank, n)[:, :, :n_in].reshape(rank * n, n_in)
        outer = _circulants(layer.at, rank, n)[:, :n_out].transpose(1, 0, 2).reshape(n_out, rank * n)
        above = np.tile(np.triu(np.ones((n, n), dtype=np.bool_), 1)[:, :n_in], (rank, 1))
        return [Stage(inner, above, None, False), Stage(outer, None, bias, activated)]
    if spec.layers == "toeplitz":
        return [Stage(layer.at + i - j + n_in - 1, None, bias, activated)]
    return [Stage(layer.at + i * n_in + j, None, bias, activated)]


@lru_cache(maxsize=8)
def stages_of(spec: PolicySpec) -> tuple[Stage, ...]:
    """The stages of a policy in the order in which they run."""
    layers = layers_of(spec)
    return tuple(s for layer in layers for s in _stages_of(spec, layer, activated=layer is not layers[-1]))
