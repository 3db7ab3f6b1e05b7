"""Sequential hill climbing: U(theta, T) as a greedy walk in parameter space.

    pivot = f(theta)
    for q in 1..K:   v = f(best + sigma g_q);   if v > pivot: pivot, best = v, best + sigma g_q

Monotone in the observed value, no step size but sigma. With `shrink` below 1, sigma is multiplied by it with each step
taken: as wide as in the meta-training until something is found, finer from there on; with 1 it stays, the published
form. Source: the hill-climbing operator of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020). Under
noise its pivot keeps the luckiest draw (see docs/operators.md); it is meant for tasks that repeat exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..search import GAUSSIAN, Search
from .base import Adapted, Proposals, check_returns, episode_seeds, materialise, propose, stay

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HillClimbState:
    """best (d,) float32, its pivot, the next step's sigma; `told` episodes so far; history (told,) float32."""

    best: F32
    pivot: float
    sigma: float
    seed: int
    told: int
    history: F32


@dataclass(frozen=True)
class HillClimb:
    """Args: queries K; sigma, the standard deviation of a step in each parameter; search, the kind of directions;
    shrink, in (0, 1], by which sigma is multiplied with each step taken.
    """

    queries: int
    sigma: float
    search: Search = GAUSSIAN
    shrink: float = 1.0
    name: str = "hill_climb"

    @property
    def episodes(self) -> int:
        return self.queries + 1

    def start(self, theta: F32, seed: int) -> HillClimbState:
        sigma = float(np.float32(self.sigma))
        return HillClimbState(np.array(theta, np.float32), 0.0, sigma, seed, 0, np.zeros(0, np.float32))

    def ask(self, state: HillClimbState) -> Proposals:
        episode = episode_seeds(state.seed, self.episodes)[state.told : state.told + 1]
        if state.told == 0:
            return stay(state.best, episode)
        drawn = self.search.draw(state.seed, self.queries, len(state.best))
        sigma = np.array([state.sigma], np.float32)
        return propose(state.best, drawn, slice(state.told - 1, state.told), sigma, episode)

    def tell(self, state: HillClimbState, returns: F32) -> HillClimbState:
        value = float(check_returns(1, returns)[0])
        best, pivot, sigma = state.best, state.pivot, state.sigma
        if state.told == 0:
            pivot = value
        elif value > pivot:
            best, pivot = materialise([self.ask(state)])[0], value
            sigma = float(np.float32(sigma) * np.float32(self.shrink))
        history = np.concatenate((state.history, np.array([value], np.float32)))
        return replace(state, best=best, pivot=pivot, sigma=sigma, told=state.told + 1, history=history)

    def done(self, state: HillClimbState) -> bool:
        return state.told >= self.episodes

    def result(self, state: HillClimbState) -> Adapted:
        return Adapted(state.best, state.pivot, float("nan"), state.told, tuple(map(float, state.history)))
