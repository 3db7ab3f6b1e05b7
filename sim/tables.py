"""The arithmetic of signals.py for a batch of robots, looked up: same bits, a third of the calls.

A sensor's count has at most 16 bits, so whatever depends on one count, the observation, a term of the reward, whether
it ends the episode, is a table with an entry for each count, filled once by signals.py itself. At batches of a hundred
robots an array operation costs what calling it costs, so that the number of calls is the time.

For the same reason constants are as wide as the batch: numpy runs two contiguous arrays through a loop in half the
time that an array and a column take.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from esmaml_robot.robot_spec import ActionSquareTerm, ConstantTerm, LinearTerm, ProgressTerm, SquareTerm, Term
from esmaml_robot.signals import Signals

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]

#: Where counts are in a table: row of the sensor times the table's width, plus how far the count is above its lowest.
Places = npt.NDArray[np.intp]

_HALF = np.float32(0.5)

#: A term of the reward out of the places at the end of a period, those at its start, and the commands.
_Term = Callable[[Places, Places, I32], "F32 | np.float32"]


class Tables:
    """What each count of each sensor means.

    Attributes (tables have a row for each sensor or actuator, flattened):
        width: entries a row.
        first: intp (n_sensors, 1), the place that a count of 0 has, or would have, in its sensor's row.
        si, observation: float32; observation is that of observed sensors and 0 for the others.
        outside: bool, True where the count ends the episode.
        ends: any count at all ends an episode.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.width = int((signals.sensor_high - signals.sensor_low).max()) + 1
        rows = len(signals.spec.sensors)
        counts = np.minimum(signals.sensor_low + np.arange(self.width, dtype=np.int32), signals.sensor_high)
        self.first = self.width * np.arange(rows, dtype=np.intp)[:, None] - signals.sensor_low
        si = signals.to_si(counts)
        observation = np.zeros_like(si)
        observation[signals.observed] = signals.observe(si)
        self.si, self.observation, self.outside = si.ravel(), observation.ravel(), signals.outside(si).ravel()
        self.ends = bool(self.outside.any())
        self.reward_terms = self._reward_terms(si)

    def _reward_terms(self, si: F32) -> list[_Term]:
        """The reward's terms in the order of the file; the first ones are one table while they read one sensor only."""
        signals, terms = self.signals, list(self.signals.spec.reward.terms)
        commands = np.zeros((len(signals.spec.actuators), 1), np.int32)
        total, sensor = np.zeros(self.width, np.float32), None
        while terms and isinstance(terms[0], ConstantTerm | LinearTerm | SquareTerm):
            term = terms[0]
            if not isinstance(term, ConstantTerm):
                if sensor not in (None, term.sensor):
                    break
                sensor = term.sensor
            total = total + signals.reward_term(term, si, si, commands)
            terms.pop(0)
        row = 0 if sensor is None else signals.sensor_index[sensor]
        return [self._look_up(total, row), *(self._reward_term(term, si) for term in terms)]

    def _look_up(self, values: F32, row: int) -> _Term:
        start = row * self.width
        return lambda now, before, commands: values.take(now[row] - start)

    def _reward_term(self, term: Term, si: F32) -> _Term:
        signals = self.signals
        if isinstance(term, ProgressTerm):
            row, weight, whole = signals.sensor_index[term.sensor], np.float32(term.weight), self.si
            return lambda now, before, commands: weight * (whole.take(now[row]) - whole.take(before[row]))
        if isinstance(term, ActionSquareTerm):
            return lambda now, before, commands: signals.reward_term(term, si, si, commands)
        none = np.zeros((len(signals.spec.actuators), 1), np.int32)
        values = signals.reward_term(term, si, si, none)
        if isinstance(term, ConstantTerm):
            return lambda now, before, commands: values
        return self._look_up(np.asarray(values), signals.sensor_index[term.sensor])


class Lanes:
    """Tables and constants for B robots side by side; arrays are (signals, B).

    Attributes:
        safe: int32, the actuators' safe counts.
    """

    def __init__(self, tables: Tables, batch: int) -> None:
        def wide(column: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
            return np.repeat(column.astype(dtype), batch, axis=1)

        s = tables.signals
        self._tables, self._signals, self._batch = tables, s, batch
        self._sensor_offset = wide(s.sensor_offset, np.float64) if s.sensor_offset.any() else None
        self._sensor_scale = wide(s.sensor_scale, np.float64)
        self._sensor_low, self._sensor_high = wide(s.sensor_low, np.float64), wide(s.sensor_high, np.float64)
        self._first, self._first64 = wide(tables.first, np.intp), wide(tables.first, np.float64)
        # what would multiply by one or add a zero is left out: a count does not know the sign of a zero
        self._half = None if (s.action_half == 1).all() else wide(s.action_half, np.float32)
        self._centre = wide(s.action_centre, np.float32) if s.action_centre.any() else None
        self._offset = wide(s.actuator_offset, np.float32) if s.actuator_offset.any() else None
        self._inverse_scale = wide(s.actuator_inverse_scale, np.float32)
        self._low, self._high = wide(s.actuator_low, np.float32), wide(s.actuator_high, np.float32)
        self._slews = bool((s.slew < s.actuator_high - s.actuator_low).any())
        self._scale = wide(s.actuator_scale, np.float32)
        self.safe = wide(s.safe, np.int32)

    def places(self, truth: F64) -> Places:
        """Physical values (SI) as `Signals.quantise` makes counts of them, as places in the tables."""
        x = truth if self._sensor_offset is None else truth - self._sensor_offset
        x = np.divide(x, self._sensor_scale)
        np.rint(x, out=x)
        np.maximum(x, self._sensor_low, out=x)
        np.minimum(x, self._sensor_high, out=x)
        np.add(x, self._first64, out=x)  # integers below 2^53: exact
        at: Places = x.astype(np.intp)
        return at

    def counts(self, places: Places) -> I32:
        """The counts at places."""
        counts: I32 = (places - self._first).astype(np.int32)
        return counts

    def observe(self, places: Places) -> F32:
        """`Signals.observe` of the counts at places."""
        seen: F32 = self._tables.observation.take(places[self._signals.observed])
        return seen

    def commands(self, actions: F32, previous: I32) -> I32:
        """`Signals.limit` of `Signals.to_counts` of finite actions, after commands that were within their range."""
        x: F32 = actions if self._half is None else actions * self._half
        x = x if self._centre is None else x + self._centre
        x = x if self._offset is None else x - self._offset
        x = x * self._inverse_scale
        np.add(x, np.copysign(_HALF, x), out=x)
        np.maximum(x, self._low, out=x)  # ends are integers: limited before it is truncated, or after, is the same
        np.minimum(x, self._high, out=x)
        counts: I32 = x.astype(np.int32)
        return self._signals.limit(counts, previous) if self._slews else counts

    def limited(self, wanted: I32, previous: I32) -> I32:
        """Counts that somebody asks for, brought into their range, then `Signals.limit`."""
        counts = np.minimum(np.maximum(wanted, self._signals.actuator_low), self._signals.actuator_high)
        return self._signals.limit(counts, previous)

    def commands_si(self, counts: I32) -> F32:
        """`Signals.commands_si`."""
        si: F32 = np.multiply(counts.astype(np.float32), self._scale)
        if self._offset is not None:
            np.add(si, self._offset, out=si)
        return si

    def reward(self, now: Places, before: Places, commands: I32) -> F32:
        """`Signals.reward` of a control period from places `before` to places `now`, (B,)."""
        first, *rest = self._tables.reward_terms
        total = np.asarray(first(now, before, commands))
        for term in rest:
            total = total + term(now, before, commands)
        return total

    def aborted(self, places: Places, running: Bool | None) -> Bool | None:
        """`Signals.aborted` of the counts at places, (B,), in rows that are `running` (None: in all).

        None stands for False in every row.
        """
        if not self._tables.ends:
            return None
        outside = self._tables.outside.take(places)
        if running is not None:
            outside &= running
        return np.logical_or.reduce(outside, axis=0) if np.count_nonzero(outside) else None


@lru_cache(maxsize=16)
def _tables_of(signals: Signals) -> Tables:
    return Tables(signals)


@lru_cache(maxsize=64)
def lanes_of(signals: Signals, batch: int) -> Lanes:
    """Lanes of a robot for B = `batch`, made once."""
    return Lanes(_tables_of(signals), batch)
