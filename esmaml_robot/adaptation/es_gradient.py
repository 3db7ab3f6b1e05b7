"""One ES-gradient step: U(theta, T) = theta + alpha * ESGrad(f^T, theta, K, sigma).

    plain:       G = 1/(K sigma)   sum_i (f(theta + sigma g_i) - f(theta)) g_i         K + 1 episodes
    antithetic:  G = 1/(2K' sigma) sum_i (f(theta + sigma g_i) - f(theta - sigma g_i)) g_i   pairs, 2 K' + 1 episodes

Algorithms 1 and 3 of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), with the pivot f(theta)
subtracted. With `normalise`, returns are divided by their standard deviation (pivot included), which makes the step
free of the reward's scale, but gives a step of full length even where the returns are nothing but noise. The sum over
directions is one way to read the gradient out of the differences; decode.py has two more.

With the sum, the step is taken direction by direction in float32, theta + c_1 g_1 + c_2 g_2 + ..., as a controller
takes it, which keeps K numbers and rebuilds the directions (firmware_export/runtime/gradient.c).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..search import GAUSSIAN, Draw, Search
from . import running
from .base import Adapted, Proposals, check_returns, episode_seeds, propose, step
from .decode import MONTE_CARLO, Decoder

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ESGradientState:
    """theta (d,) float32; returns told so far, (0,) or (episodes,), the pivot first."""

    theta: F32
    seed: int
    returns: F32


@dataclass(frozen=True)
class ESGradient:
    """Args: queries K (even for antithetic pairs); sigma; alpha, the step size; kind; normalise; search; decoder."""

    queries: int
    sigma: float
    alpha: float
    kind: Literal["plain", "antithetic"] = "antithetic"
    normalise: bool = True
    search: Search = GAUSSIAN
    decoder: Decoder = MONTE_CARLO
    name: str = "es_gradient"

    @property
    def episodes(self) -> int:
        return self.queries + 1

    def start(self, theta: F32, seed: int) -> ESGradientState:
        return ESGradientState(np.array(theta, np.float32), seed, np.zeros(0, np.float32))

    def ask(self, state: ESGradientState) -> Proposals:
        drawn, count = self._drawn(state), self._directions
        if self.kind == "antithetic":
            order = np.concatenate([[0], np.arange(count), np.arange(count)])
            signs = np.concatenate([[0.0], np.ones(count), -np.ones(count)])
        else:
            order = np.concatenate([[0], np.arange(count)])
            signs = np.concatenate([[0.0], np.ones(count)])
        rows = None if drawn.rows is None else drawn.rows[order]
        sigmas = (np.float32(self.sigma) * signs).astype(np.float32)
        episodes = episode_seeds(state.seed, self.episodes)
        return propose(state.theta, Draw(drawn.seeds[order], rows), slice(None), sigmas, episodes)

    @property
    def _directions(self) -> int:
        return self.queries // 2 if self.kind == "antithetic" else self.queries

    def _drawn(self, state: ESGradientState) -> Draw:
        return self.search.draw(state.seed, self._directions, len(state.theta))

    def tell(self, state: ESGradientState, returns: F32) -> ESGradientState:
        return replace(state, returns=check_returns(self.episodes, returns).copy())

    def done(self, state: ESGradientState) -> bool:
        return len(state.returns) > 0

    def weights(self, state: ESGradientState) -> F32:
        """What each direction makes of the return, float32 (directions,): f+ - f, or half of f+ - f-."""
        pivot, rest, k = state.returns[0], state.returns[1:], self._directions
        return np.float32(0.5) * (rest[:k] - rest[k:]) if self.kind == "antithetic" else rest - pivot

    def scale(self, state: ESGradientState) -> np.float32:
        """What divides the weights: 1, or the returns' standard deviation, pivot included."""
        if not self.normalise:
            return np.float32(1)
        moments = running.of(state.returns)
        return np.float32(np.sqrt(running.squares(moments) / np.float32(self.episodes)))

    def gradient(self, state: ESGradientState) -> npt.NDArray[np.float64]:
        """The estimate G, shape (d,), float64; zero where all returns are equal."""
        if not running.squares(running.of(state.returns)) > 0:
            return np.zeros(len(state.theta))
        rows = self._drawn(state).matrix(len(state.theta)).astype(np.float64)
        return self.decoder.gradient(rows, self.weights(state) / np.float64(self.scale(state)), self.sigma)

    def _stepped(self, state: ESGradientState) -> F32:
        """Theta + alpha G for the sum over directions."""
        params = state.theta
        if not running.squares(running.of(state.returns)) > 0:
            return params
        whole = np.float32(self._directions) * np.float32(self.sigma) * self.scale(state)
        factors = np.float32(self.alpha) / whole * self.weights(state)
        for factor, row in zip(factors, self._drawn(state).matrix(len(params)), strict=True):
            params = step(params[None], factor[None], row[None])[0]
        return params

    @running.quiet
    def result(self, state: ESGradientState) -> Adapted:
        if self.decoder.kind == "mc":
            params = self._stepped(state)
        else:
            params = (state.theta + self.alpha * self.gradient(state)).astype(np.float32)
        history = tuple(map(float, state.returns))
        return Adapted(params, history[0], float("nan"), len(history), history)
