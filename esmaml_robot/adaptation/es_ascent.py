"""Several ES-gradient steps, each of a length that a trial episode must justify.

    at x:   P mirrored pairs x +- sigma g,   G = gradient estimate out of all pairs that were run at x
            trial: v = f(x + L G/|G|), L at most length * sigma sqrt(d), the mean size of a perturbation
            taken if v beats the mean of the pairs by more than the standard deviation of one episode;
            taken: x moves, L doubles (up to its most);   not taken: x stays, its pairs are kept, L halves

S (2 P + 1) + 1 episodes; the last one runs the result, and is the estimate that is reported. The gradient is the
antithetic one of Song et al., "ES-MAML: Simple Hessian-Free Meta Learning" (ICLR 2020), Algorithm 3, with true mirrored
pairs; only its orientation is used, so the step has no reward scale in it, and on pure noise most trials fail. The
noise is read off the pairs: their means (f(x + sigma g) + f(x - sigma g)) / 2 spread by noise and curvature, not by
slope. Step control by trial as in a backtracking line search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..search import GAUSSIAN, Draw, Search
from .base import Adapted, Proposals, check_returns, episode_seeds, propose, stay
from .decode import MONTE_CARLO, Decoder

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ESAscentState:
    """point (d,) float32, x; since, the first step whose pairs were run at it; scale, L in units of its most."""

    point: F32
    seed: int
    since: int
    scale: float
    history: F32


@dataclass(frozen=True)
class ESAscent:
    """Args: steps S; pairs P a step; sigma; length, the longest step in perturbations; search; decoder."""

    steps: int
    pairs: int
    sigma: float
    length: float = 1.0
    search: Search = GAUSSIAN
    decoder: Decoder = MONTE_CARLO
    name: str = "es_ascent"

    @property
    def _per_step(self) -> int:
        return 2 * self.pairs + 1

    @property
    def episodes(self) -> int:
        return self.steps * self._per_step + 1

    def start(self, theta: F32, seed: int) -> ESAscentState:
        return ESAscentState(np.array(theta, np.float32), seed, 0, 1.0, np.zeros(0, np.float32))

    def _stage(self, state: ESAscentState) -> Literal["pairs", "trial", "last"]:
        told = len(state.history)
        if told >= self.steps * self._per_step:
            return "last"
        return "trial" if told % self._per_step else "pairs"

    def ask(self, state: ESAscentState) -> Proposals:
        told, stage = len(state.history), self._stage(state)
        episodes = episode_seeds(state.seed, self.episodes)[told:]
        if stage == "last":
            return stay(state.point, episodes[:1])
        if stage == "trial":
            return stay(self.trial(state), episodes[:1])
        step = told // self._per_step
        drawn, which = self._drawn(state), slice(step * self.pairs, (step + 1) * self.pairs)
        rows = None if drawn.rows is None else np.concatenate([drawn.rows[which]] * 2)
        both = Draw(np.concatenate([drawn.seeds[which]] * 2), rows)
        sigmas = np.repeat(np.array([self.sigma, -self.sigma], np.float32), self.pairs)
        return propose(state.point, both, slice(None), sigmas, episodes[: 2 * self.pairs])

    def _drawn(self, state: ESAscentState) -> Draw:
        return self.search.draw(state.seed, self.steps * self.pairs, len(state.point), block=self.pairs)

    def _pairs(self, state: ESAscentState) -> tuple[F64, F64]:
        """Returns of + and - halves, (n,) each, of all pairs that were run at x."""
        last = len(state.history) // self._per_step
        values = state.history.astype(np.float64)
        begins = [step * self._per_step for step in range(state.since, last + 1)]
        plus = np.concatenate([values[b : b + self.pairs] for b in begins])
        minus = np.concatenate([values[b + self.pairs : b + 2 * self.pairs] for b in begins])
        return plus, minus

    def trial(self, state: ESAscentState) -> F32:
        """Where the pairs at x say to go, (d,) float32; x itself where they say nothing."""
        plus, minus = self._pairs(state)
        rows = self._drawn(state).matrix(len(state.point))[state.since * self.pairs :][: len(plus)]
        gradient = self.decoder.gradient(rows.astype(np.float64), 0.5 * (plus - minus), self.sigma)
        size = float(np.sqrt((gradient * gradient).sum()))
        if size == 0.0:
            return state.point
        most = self.length * self.sigma * np.sqrt(len(state.point))
        moved: F32 = (state.point + state.scale * most / size * gradient).astype(np.float32)
        return moved

    def tell(self, state: ESAscentState, returns: F32) -> ESAscentState:
        stage = self._stage(state)
        values = check_returns(2 * self.pairs if stage == "pairs" else 1, returns)
        told = replace(state, history=np.concatenate([state.history, values]))
        if stage != "trial":
            return told
        plus, minus = self._pairs(state)
        means = 0.5 * (plus + minus)
        # a mean of two episodes spreads by 1 / sqrt(2) of what one does; one pair says nothing about spread
        margin = np.sqrt(2.0) * float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
        if float(values[0]) <= float(means.mean()) + margin:
            return replace(told, scale=state.scale / 2)
        since = len(told.history) // self._per_step
        return replace(told, point=self.trial(state), since=since, scale=min(1.0, 2 * state.scale))

    def done(self, state: ESAscentState) -> bool:
        return len(state.history) >= self.episodes

    def result(self, state: ESAscentState) -> Adapted:
        history = tuple(map(float, state.history))
        return Adapted(state.point, history[-1], float("nan"), len(history), history)
