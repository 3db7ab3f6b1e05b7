"""Hill climbing for returns that are noisy: greedy search, then a confirmation with fresh episodes, or back to theta.

    search:   as hill_climb.py, `shrink` included, v = f(best + sigma g) against the pivot. The pivot is the mean of
              all episodes of the incumbent: after PATIENCE candidates in a row that did not beat it, the incumbent
              runs again, so that one lucky episode does not end the search.
    confirm:  the incumbent against theta in episodes that no choice was made by. If its mean is not better by
              Student's t at 2.5 % (one-sided, noise pooled over all repeated episodes), the result is theta.

K + 1 episodes in all, confirmations included. Taking a candidate on one lucky episode is harmless in the search: the
raised pivot is a threshold to the next ones, which on noisy hills finds more than testing each step (Markon, Arnold,
Baeck, Beielstein, Beyer, "Thresholding - a selection operator for noisy ES", CEC 2001, make this point; Beyer,
"Evolutionary algorithms in noisy environments", 2000, on re-evaluation). What it may not do is decide the result or be
reported. One test at the end on data of its own needs no correction for the number of comparisons before it.

How many episodes are kept for the confirmation follows from the search: as few as would confirm the gain seen so
far, less its own uncertainty, with a standard error to spare; at most an eighth of the budget on either side. Theta's
own episodes count for theta.

Returns that repeat: the first candidate taken runs a second time. If the return is the same to the last bit, the task
is taken to repeat exactly, and what follows is sequential hill climbing without a confirmation.

All that decides is computed in float32, operation by operation as in firmware_export/runtime/confirmed.c: a controller
alone comes to the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..search import GAUSSIAN, Search
from . import running
from .base import Adapted, Proposals, check_returns, episode_seeds, materialise, propose, stay
from .student import t975_single

F32 = npt.NDArray[np.float32]

#: Candidates in a row that do not beat the pivot before the incumbent is run again, and up to how many episodes of it.
PATIENCE, MOST_REPEATS = 6, 4

_CANDIDATE, _REPEAT, _CONFIRM = 0, 1, 2
_ONE = np.float32(1)


@dataclass(frozen=True)
class ConfirmedHillClimbState:
    """Where the search is.

    Attributes:
        theta, best: float32 (d,), the start and the incumbent.
        sigma: of the next candidate.
        at_theta: moments (running.py) of the returns of theta.
        at_best: of the incumbent during the search, once it is not theta.
        fresh: of the incumbent during the confirmation.
        squares, freedom: of earlier incumbents, the sum of squared deviations and its degrees of freedom.
        phase: what is asked next: 0 a candidate, 1 the incumbent again, 2 the confirmation.
        drawn: candidates so far. rejected: of them in a row, the last that were not taken. exact: 1 if returns repeat.
        to_confirm: episodes of the incumbent in the confirmation.
        history: all returns, float32, in the order told.
    """

    theta: F32
    best: F32
    sigma: float
    seed: int
    phase: int
    drawn: int
    rejected: int
    exact: int
    to_confirm: int
    squares: float
    freedom: int
    at_theta: F32
    at_best: F32
    fresh: F32
    history: F32

    @property
    def moved(self) -> bool:
        """Whether the incumbent is not theta."""
        return running.count(self.at_best) > 0

    @property
    def incumbent(self) -> F32:
        """Moments of the incumbent's returns during the search."""
        return self.at_best if self.moved else self.at_theta

    @property
    def pivot(self) -> float:
        """What a candidate must beat."""
        return float(running.mean(self.incumbent))


@dataclass(frozen=True)
class ConfirmedHillClimb:
    """Args: queries K; sigma, the standard deviation of a step in each parameter; search, the kind of directions;
    shrink, in (0, 1], by which sigma is multiplied with each step taken.
    """

    queries: int
    sigma: float
    search: Search = GAUSSIAN
    shrink: float = 1.0
    name: str = "confirmed_hill_climb"

    @property
    def episodes(self) -> int:
        return self.queries + 1

    def start(self, theta: F32, seed: int) -> ConfirmedHillClimbState:
        begin, sigma, none = np.array(theta, np.float32), float(np.float32(self.sigma)), running.nothing()
        history = np.zeros(0, np.float32)
        return ConfirmedHillClimbState(
            begin, begin, sigma, seed, _REPEAT, 0, 0, 0, 0, 0.0, 0, none, none, none, history
        )

    def ask(self, state: ConfirmedHillClimbState) -> Proposals:
        told = len(state.history)
        episode = episode_seeds(state.seed, self.episodes)[told : told + 1]
        if state.phase == _CANDIDATE:
            drawn = self.search.draw(state.seed, self.queries, len(state.theta))
            which = slice(state.drawn, state.drawn + 1)
            return propose(state.best, drawn, which, np.array([state.sigma], np.float32), episode)
        at_theta = state.phase == _CONFIRM and not self._incumbent_is_next(state)
        return stay(state.theta if at_theta else state.best, episode)

    def _incumbent_is_next(self, state: ConfirmedHillClimbState) -> bool:
        """In turns, what one side has more of first, so that a robot that tires does so on both sides."""
        left = self.episodes - len(state.history)
        incumbents = state.to_confirm - running.count(state.fresh)
        return state.moved and incumbents * 2 >= left

    @running.quiet
    def tell(self, state: ConfirmedHillClimbState, returns: F32) -> ConfirmedHillClimbState:
        value = check_returns(1, returns)[0]
        history = np.append(state.history, value)
        if state.phase == _CONFIRM:
            if self._incumbent_is_next(state):
                return replace(state, history=history, fresh=running.add(state.fresh, value))
            return replace(state, history=history, at_theta=running.add(state.at_theta, value))
        if state.phase == _CANDIDATE:
            if float(value) > state.pivot:
                return self._taken(state, value, history)
            return self._next(replace(state, history=history, drawn=state.drawn + 1, rejected=state.rejected + 1))
        if not state.moved:
            at_theta = running.add(state.at_theta, value)
            return self._next(replace(state, history=history, at_theta=at_theta, rejected=0))
        repeated = replace(state, history=history, at_best=running.add(state.at_best, value), rejected=0)
        return self._next(replace(repeated, exact=int(_noise(repeated)[0] == 0)))

    def _taken(self, state: ConfirmedHillClimbState, value: np.float32, history: F32) -> ConfirmedHillClimbState:
        """A candidate becomes the incumbent."""
        # theta's own returns are kept, those of another incumbent leave their spread
        squares, freedom = _gathered(np.float32(state.squares), state.freedom, state.at_best)
        taken = replace(
            state,
            best=materialise([self.ask(state)])[0],
            sigma=float(np.float32(state.sigma) * np.float32(self.shrink)),
            history=history,
            drawn=state.drawn + 1,
            rejected=0,
            squares=float(squares),
            freedom=freedom,
            at_best=running.of([value]),
        )
        if not state.exact and _noise(taken)[0] == 0 and len(history) < self.episodes:
            return replace(taken, phase=_REPEAT)
        return self._next(taken)

    def _next(self, state: ConfirmedHillClimbState) -> ConfirmedHillClimbState:
        """The state with what is to be asked next."""
        phase, to_confirm = _CANDIDATE, 0
        if not state.exact:
            left = self.episodes - len(state.history)
            same_again = not state.moved and running.repeats(state.at_theta)
            if left <= sum(self._plan(state)):
                # equal numbers on both sides, of which theta has some already
                even = min(left, (left + running.count(state.at_theta) + 1) // 2)
                phase, to_confirm = _CONFIRM, even if state.moved else 0
            elif state.rejected >= PATIENCE and running.count(state.incumbent) < MOST_REPEATS and not same_again:
                phase = _REPEAT
        return state if phase == state.phase else replace(state, phase=phase, to_confirm=to_confirm)

    def _plan(self, state: ConfirmedHillClimbState) -> tuple[int, int]:
        """Episodes to keep for the confirmation: of the incumbent, of theta."""
        most = max(2, self.episodes // 8)
        if not state.moved:
            return (1 if running.repeats(state.at_theta) else most), 0
        known = running.count(state.at_theta)
        squares, freedom = _noise(state)
        if squares > 0:
            apart = running.mean(state.at_best) - running.mean(state.at_theta)
            gain = apart / np.sqrt(squares / _single(freedom))
            gain = gain - _ONE / np.sqrt(_single(running.count(state.at_best)))
            for n in range(1, most):
                of_theta = max(0, n - known)
                error = np.sqrt(_ONE / _single(n) + _ONE / _single(known + of_theta))
                if gain >= (t975_single(freedom + n - 1 + of_theta) + _ONE) * error:
                    return n, of_theta
        return most, max(0, most - known)

    def done(self, state: ConfirmedHillClimbState) -> bool:
        return len(state.history) >= self.episodes

    @running.quiet
    def result(self, state: ConfirmedHillClimbState) -> Adapted:
        """The incumbent with the mean of its fresh episodes if it is confirmed, theta with the mean of its own if not.

        The standard error is that of the noise pooled over all repeated episodes; 0 where returns repeat.
        """
        history = tuple(map(float, state.history))
        if state.exact:
            return Adapted(state.best, state.pivot, 0.0, len(history), history)
        squares, freedom = _noise(state)
        noise = float(np.sqrt(squares / _single(freedom))) if freedom else math.nan
        params, returns = (state.best, state.fresh) if _confirmed(state) else (state.theta, state.at_theta)
        error = noise / math.sqrt(running.count(returns))
        return Adapted(params, float(running.mean(returns)), error, len(history), history)


def _confirmed(state: ConfirmedHillClimbState) -> bool:
    squares, freedom = _noise(state)
    if not running.count(state.fresh) or not freedom:
        return False
    each = _ONE / _single(running.count(state.fresh)) + _ONE / _single(running.count(state.at_theta))
    error = np.sqrt(squares / _single(freedom)) * np.sqrt(each)
    apart = running.mean(state.fresh) - running.mean(state.at_theta)
    return bool(apart > t975_single(freedom) * error)


def _noise(state: ConfirmedHillClimbState) -> tuple[np.float32, int]:
    """Sum of squared deviations of repeated episodes from the mean of their place, and its degrees of freedom."""
    squares, freedom = np.float32(state.squares), state.freedom
    for moments in (state.at_theta, state.at_best, state.fresh):
        squares, freedom = _gathered(squares, freedom, moments)
    return squares, freedom


def _gathered(squares: np.float32, freedom: int, moments: F32) -> tuple[np.float32, int]:
    """Squares and degrees of freedom with those of one more place."""
    return squares + running.squares(moments), freedom + max(0, running.count(moments) - 1)


def _single(number: int) -> np.float32:
    return np.float32(number)
