"""Sequential hill climbing: U(theta, T) as a greedy walk in parameter space.

    pivot = f(theta)
    for q in 1..K:   v = f(best + sigma g_q);   if v > pivot: pivot, best = v, best + sigma g_q

Monotone in the observed value, no step size but sigma. Source: the hill-climbing operator of Song et al., "ES-MAML:
Simple Hessian-Free Meta Learning" (ICLR 2020). Under noise its pivot keeps the luckiest draw (see
docs/operators.md); it is meant for tasks that repeat exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .base import Adapted, Proposals, candidate_seeds, check_returns, episode_seeds, no_seed, step

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class HillClimbState:
    """best (d,) float32 and its pivot; `told` episodes so far; history (told,) float32."""

    best: F32
    pivot: float
    seed: int
    told: int
    history: F32


@dataclass(frozen=True)
class HillClimb:
    """Args: queries K; sigma, the standard deviation of a step in each parameter."""

    queries: int
    sigma: float
    name: str = "hill_climb"

    @property
    def episodes(self) -> int:
        return self.queries + 1

    def start(self, theta: F32, seed: int) -> HillClimbState:
        return HillClimbState(np.array(theta, np.float32), 0.0, seed, 0, np.zeros(0, np.float32))

    def ask(self, state: HillClimbState) -> Proposals:
        episode = episode_seeds(state.seed, self.episodes)[state.told : state.told + 1]
        if state.told == 0:
            return Proposals(state.best, no_seed(1), np.zeros(1, np.float32), episode)
        seeds = candidate_seeds(state.seed, self.queries)[state.told - 1 : state.told]
        return Proposals(state.best, seeds, np.full(1, self.sigma, np.float32), episode)

    def tell(self, state: HillClimbState, returns: F32) -> HillClimbState:
        asked = self.ask(state)
        value = float(check_returns(1, returns)[0])
        best, pivot = state.best, state.pivot
        if state.told == 0:
            pivot = value
        elif value > pivot:
            best, pivot = step(best[None, :], asked.seeds, asked.sigmas)[0], value
        history = np.append(state.history, np.float32(value))
        return replace(state, best=best, pivot=pivot, told=state.told + 1, history=history)

    def done(self, state: HillClimbState) -> bool:
        return state.told >= self.episodes

    def result(self, state: HillClimbState) -> Adapted:
        return Adapted(state.best, state.pivot, float("nan"), state.told, tuple(map(float, state.history)))
