"""One ES-gradient step: U(theta, T) = theta + alpha * ESGrad(f^T, theta, K, sigma).

    plain:       G = 1/(K sigma)   sum_i (f(theta + sigma g_i) - f(theta)) g_i         K + 1 episodes
    antithetic:  G = 1/(2K' sigma) sum_i (f(theta + sigma g_i) - f(theta - sigma g_i)) g_i   pairs, 2 K' + 1 episodes

Algorithms 1 and 3 of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), with the pivot f(theta)
subtracted. With `normalise`, returns are divided by their standard deviation (pivot included), which makes the step
free of the reward's scale, but gives a step of full length even where the returns are nothing but noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from .. import directions
from .base import Adapted, Proposals, candidate_seeds, check_returns, episode_seeds

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ESGradientState:
    """theta (d,) float32; returns told so far, (0,) or (episodes,), the pivot first."""

    theta: F32
    seed: int
    returns: F32


@dataclass(frozen=True)
class ESGradient:
    """Args: queries K (even for antithetic pairs); sigma; alpha, the step size; kind; normalise."""

    queries: int
    sigma: float
    alpha: float
    kind: Literal["plain", "antithetic"] = "antithetic"
    normalise: bool = True
    name: str = "es_gradient"

    @property
    def episodes(self) -> int:
        return self.queries + 1

    def start(self, theta: F32, seed: int) -> ESGradientState:
        return ESGradientState(np.array(theta, np.float32), seed, np.zeros(0, np.float32))

    def ask(self, state: ESGradientState) -> Proposals:
        sigma = np.float32(self.sigma)
        if self.kind == "antithetic":
            half = candidate_seeds(state.seed, self.queries // 2)
            seeds = np.concatenate([half[:1], half, half])
            sigmas = np.concatenate([[0.0], np.full(len(half), sigma), np.full(len(half), -sigma)])
        else:
            all_seeds = candidate_seeds(state.seed, self.queries)
            seeds = np.concatenate([all_seeds[:1], all_seeds])
            sigmas = np.concatenate([[0.0], np.full(len(all_seeds), sigma)])
        return Proposals(state.theta, seeds, sigmas.astype(np.float32), episode_seeds(state.seed, self.episodes))

    def tell(self, state: ESGradientState, returns: F32) -> ESGradientState:
        return replace(state, returns=check_returns(self.episodes, returns).copy())

    def done(self, state: ESGradientState) -> bool:
        return len(state.returns) > 0

    def gradient(self, state: ESGradientState) -> npt.NDArray[np.float64]:
        """The estimate G, shape (d,), float64; zero where all returns are equal."""
        values = state.returns.astype(np.float64)
        spread = float(np.std(values))
        if spread == 0.0:
            return np.zeros(len(state.theta))
        if self.normalise:
            values = values / spread
        pivot, rest = values[0], values[1:]
        if self.kind == "antithetic":
            k = self.queries // 2
            weights, seeds = 0.5 * (rest[:k] - rest[k:]), candidate_seeds(state.seed, k)
        else:
            weights, seeds = rest - pivot, candidate_seeds(state.seed, self.queries)
        rows = directions.directions(seeds, len(state.theta)).astype(np.float64)
        gradient: npt.NDArray[np.float64] = (weights[:, None] * rows).sum(axis=0) / (len(seeds) * self.sigma)
        return gradient

    def result(self, state: ESGradientState) -> Adapted:
        params = (state.theta + self.alpha * self.gradient(state)).astype(np.float32)
        history = tuple(map(float, state.returns))
        return Adapted(params, history[0], float("nan"), len(history), history)
