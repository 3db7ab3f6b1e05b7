"""Batch hill climbing: several evaluations before each decision, in the two published modes.

    pivot = mean of P evaluations of theta
    batch:    P candidates best + sigma g_j, one evaluation each; the best of them is taken if it beats the pivot
    average:  one candidate best + sigma g, P evaluations; it is taken if their mean beats the pivot

P * (Q + 1) episodes. Source: Song et al., "Rapidly Adaptable Legged Robots via Evolutionary Meta-Learning"
(IROS 2020) and the code published with it. As published, the pivot is never evaluated again. Means are float32, as on
a controller (running.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..search import GAUSSIAN, Draw, Search
from . import running
from .base import Adapted, Proposals, check_returns, episode_seeds, materialise, propose, stay

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class BatchHillClimbState:
    """best (d,) float32 and its pivot; `rounds` decisions so far (the pivot is round 0); history float32."""

    best: F32
    pivot: float
    pivot_error: float
    seed: int
    rounds: int
    history: F32


@dataclass(frozen=True)
class BatchHillClimb:
    """Args: queries Q (rounds after the pivot); parallel P evaluations a round; sigma; mode; search.

    The directions of a round of mode `batch` are drawn together, those of mode `average` for the whole run.
    """

    queries: int
    parallel: int
    sigma: float
    mode: Literal["batch", "average"] = "batch"
    search: Search = GAUSSIAN
    name: str = "batch_hill_climb"

    @property
    def episodes(self) -> int:
        return self.parallel * (self.queries + 1)

    def start(self, theta: F32, seed: int) -> BatchHillClimbState:
        return BatchHillClimbState(np.array(theta, np.float32), 0.0, float("nan"), seed, 0, np.zeros(0, np.float32))

    def ask(self, state: BatchHillClimbState) -> Proposals:
        p, at = self.parallel, self.parallel * state.rounds
        episode = episode_seeds(state.seed, self.episodes)[at : at + p]
        if state.rounds == 0:
            return stay(state.best, episode)
        d, sigmas = len(state.best), np.full(p, self.sigma, np.float32)
        if self.mode == "batch":
            drawn = self.search.draw(state.seed, self.queries * p, d, block=p)
            return propose(state.best, drawn, slice(at - p, at), sigmas, episode)
        drawn = self.search.draw(state.seed, self.queries, d)
        one = slice(state.rounds - 1, state.rounds)
        rows = None if drawn.rows is None else np.repeat(drawn.rows[one], p, axis=0)
        return propose(state.best, Draw(np.repeat(drawn.seeds[one], p), rows), slice(None), sigmas, episode)

    @running.quiet
    def tell(self, state: BatchHillClimbState, returns: F32) -> BatchHillClimbState:
        asked = self.ask(state)
        values = check_returns(self.parallel, returns)
        best, pivot, error = state.best, state.pivot, state.pivot_error
        moments = running.of(values)
        mean, spread = float(running.mean(moments)), float("nan")
        if self.parallel > 1:
            spread = float(np.sqrt(running.squares(moments) / (self.parallel - 1) / self.parallel))
        if state.rounds == 0:
            pivot, error = mean, spread
        else:
            if self.mode == "average":
                chosen, value, value_error = 0, mean, spread
            else:
                chosen = int(np.argmax(values))
                value, value_error = float(values[chosen]), float("nan")
            if value > pivot:
                best = materialise([asked.row(chosen)])[0]
                pivot, error = value, value_error
        history = np.concatenate([state.history, values])
        return replace(state, best=best, pivot=pivot, pivot_error=error, rounds=state.rounds + 1, history=history)

    def done(self, state: BatchHillClimbState) -> bool:
        return state.rounds > self.queries

    def result(self, state: BatchHillClimbState) -> Adapted:
        history = tuple(map(float, state.history))
        return Adapted(state.best, state.pivot, state.pivot_error, len(history), history)
