"""Counts, SI units and [-1, 1]: the arithmetic between a robot's pins and its policy, the one that C repeats.

Everything is float32 or int32, one rounding an operation, in the order written here. The generated robot_model.c does
the same operations in the same order with contraction off, so an episode has the same bits in the simulator and on
the controller. Arrays have the batch as their last axis, shape (signals, B): each operation is then one contiguous
pass, whatever the number of signals.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .robot_spec import ConstantTerm, LinearTerm, ProgressTerm, RobotSpec, SquareTerm, Term

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

_ONE, _HALF = np.float32(1), np.float32(0.5)

#: Counts span 16 bits, so a faster slew than this limits nothing.
MAX_SLEW = 131071


def f32_column(values: list[float]) -> F32:
    return np.array(values, dtype=np.float32).reshape(-1, 1)


class Signals:
    """The numeric side of a RobotSpec.

    Attributes (float32 columns, shape (signals, 1)):
        sensor_scale, sensor_offset: counts to SI.
        observation_centre, observation_gain: SI to [-1, 1], observed sensors only; gain = 2 / (high - low).
        action_centre, action_half: [-1, 1] to SI.
        actuator_offset, actuator_inverse_scale: SI to counts.
        actuator_low, actuator_high, slew (int32): limits in counts; slew in counts per control period.
        safe, hold (int32): counts; hold_last marks actuators that hold their last command.
    """

    def __init__(self, spec: RobotSpec) -> None:
        self.spec = spec
        self.sensor_scale = f32_column([s.scale for s in spec.sensors])
        self.sensor_offset = f32_column([s.offset for s in spec.sensors])
        self.sensor_low = np.array([[s.counts[0]] for s in spec.sensors], dtype=np.int32)
        self.sensor_high = np.array([[s.counts[1]] for s in spec.sensors], dtype=np.int32)
        self._sensor_scale64 = self.sensor_scale.astype(np.float64)
        observed = [i for i, s in enumerate(spec.sensors) if s.observed]
        adjacent = observed == list(range(observed[0], observed[-1] + 1))
        self.observed = slice(observed[0], observed[-1] + 1) if adjacent else np.array(observed)
        self.observation_centre = f32_column([0.5 * (s.range[0] + s.range[1]) for s in spec.observed])
        self.observation_gain = f32_column([2.0 / (s.range[1] - s.range[0]) for s in spec.observed])
        acts = spec.actuators
        self.action_centre = f32_column([0.5 * (a.range[0] + a.range[1]) for a in acts])
        self.action_half = f32_column([0.5 * (a.range[1] - a.range[0]) for a in acts])
        self.actuator_scale = f32_column([a.scale for a in acts])
        self.actuator_offset = f32_column([a.offset for a in acts])
        self.actuator_inverse_scale = f32_column([1.0 / a.scale for a in acts])
        ends = [sorted(round((v - a.offset) / a.scale) for v in a.range) for a in acts]
        self.actuator_low = np.array([[e[0]] for e in ends], dtype=np.int32)
        self.actuator_high = np.array([[e[1]] for e in ends], dtype=np.int32)
        self.slew = np.array(
            [[min(MAX_SLEW, max(1, int(a.rate_limit / (abs(a.scale) * spec.control_rate_hz))))] for a in acts],
            dtype=np.int32,
        )
        self.safe = np.array([[round((a.safe - a.offset) / a.scale)] for a in acts], dtype=np.int32)
        self.hold_last = np.array([[a.hold == "last"] for a in acts])
        self.hold = np.array(
            [[0 if a.hold == "last" else round((float(a.hold) - a.offset) / a.scale)] for a in acts], dtype=np.int32
        )
        self.sensor_index = {sensor.name: i for i, sensor in enumerate(spec.sensors)}
        self._actuator_index = {a.name: i for i, a in enumerate(acts)}
        self._allowed_low = np.full((len(spec.sensors), 1), -np.inf, np.float32)
        self._allowed_high = np.full((len(spec.sensors), 1), np.inf, np.float32)
        for limit in spec.abort:
            i = self.sensor_index[limit.sensor]
            self._allowed_low[i] = max(self._allowed_low[i], np.float32(limit.allowed[0]))
            self._allowed_high[i] = min(self._allowed_high[i], np.float32(limit.allowed[1]))

    def quantise(self, values: F64) -> I32:
        """Physical values (SI, float64, (n_sensors, B)) to the counts that the sensors would give."""
        counts = np.rint((values - self.sensor_offset) / self._sensor_scale64)
        limited: I32 = np.minimum(np.maximum(counts, self.sensor_low), self.sensor_high).astype(np.int32)
        return limited

    def to_si(self, counts: I32) -> F32:
        """Sensor counts (n_sensors, B) to SI float32."""
        si: F32 = counts.astype(np.float32) * self.sensor_scale + self.sensor_offset
        return si

    def observe(self, si: F32) -> F32:
        """Sensors in SI (n_sensors, B) to observations in [-1, 1], (n_observed, B)."""
        scaled = (si[self.observed] - self.observation_centre) * self.observation_gain
        limited: F32 = np.minimum(np.maximum(scaled, -_ONE), _ONE)
        return limited

    def to_counts(self, action: F32) -> I32:
        """Actions in [-1, 1] (n_actuators, B) to actuator counts within their range, rounded half away from zero."""
        si = action * self.action_half + self.action_centre
        scaled = (si - self.actuator_offset) * self.actuator_inverse_scale
        counts = (scaled + np.copysign(_HALF, scaled)).astype(np.int32)  # truncates toward zero
        limited: I32 = np.minimum(np.maximum(counts, self.actuator_low), self.actuator_high)
        return limited

    def limit(self, counts: I32, previous: I32) -> I32:
        """Rate limit: no command differs from the previous one by more than `slew` counts."""
        limited: I32 = np.minimum(np.maximum(counts, previous - self.slew), previous + self.slew)
        return limited

    def commands_si(self, counts: I32) -> F32:
        """Actuator counts (n_actuators, B) to SI float32."""
        return counts.astype(np.float32) * self.actuator_scale + self.actuator_offset

    def reward(self, si: F32, previous_si: F32, commands: I32) -> F32:
        """Reward of one control period, shape (B,): the terms in the order of the file, summed in float32."""
        total = np.zeros(si.shape[1], dtype=np.float32)
        for term in self.spec.reward.terms:
            total = total + self.reward_term(term, si, previous_si, commands)
        return total

    def reward_term(self, term: Term, si: F32, previous_si: F32, commands: I32) -> F32 | np.float32:
        """One term of the reward, shape (B,), or a number where it is a constant."""
        weight = np.float32(term.weight)
        if isinstance(term, ConstantTerm):
            return weight
        if isinstance(term, LinearTerm):
            value: F32 = si[self.sensor_index[term.sensor]]
        elif isinstance(term, SquareTerm):
            error = si[self.sensor_index[term.sensor]] - np.float32(term.target)
            value = error * error
        elif isinstance(term, ProgressTerm):
            i = self.sensor_index[term.sensor]
            value = si[i] - previous_si[i]
        else:
            i = self._actuator_index[term.actuator]
            command = commands[i].astype(np.float32) * self.actuator_scale[i] + self.actuator_offset[i]
            value = command * command
        weighted: F32 = weight * value
        return weighted

    def outside(self, si: F32) -> Bool:
        """True where a sensor left its allowed span, (n_sensors, B)."""
        return (si < self._allowed_low) | (si > self._allowed_high)

    def aborted(self, si: F32) -> Bool:
        """True where any sensor left its allowed span, shape (B,)."""
        out: Bool = np.logical_or.reduce(self.outside(si), axis=0)
        return out
