"""What an exported policy must compute, in numpy: observed sensors in SI to actuator commands in SI.

All exports are compared with this one function, and it is made of the arithmetic that training and the simulator use:
`Signals.observe`, `Policy.act` and the first line of `Signals.to_counts`. Differences are measured in units of half an
actuator's range, so one tolerance serves metres per second and servo microseconds alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from esmaml_robot import directions
from esmaml_robot.errors import ExportError, PolicyError
from esmaml_robot.policy import Policy, PolicySpec, check_theta
from esmaml_robot.robot_spec import RobotSpec
from esmaml_robot.signals import Signals

from .robot_c import signals_of

F32 = npt.NDArray[np.float32]

#: Largest accepted difference between two forms of one policy, in units of half an actuator's range.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Memory:
    """What a policy remembers within an episode, a row for each situation.

    Attributes:
        ticks: control period, modulo the steps of the clock; int64, shape (B,). 0 without a clock.
        previous: last actions in [-1, 1], float32, shape (B, n_actuators). 0 without an action filter.
    """

    ticks: npt.NDArray[np.int64]
    previous: F32


@dataclass(frozen=True)
class Reference:
    """A policy on its robot, checked and ready to be exported. Build one with `reference_of`."""

    policy: Policy
    spec: RobotSpec
    signals: Signals

    def actions(self, sensors: F32, memory: Memory) -> F32:
        """Observed sensors in SI (B, n_observed) to actions in [-1, 1] (B, n_actuators), float32."""
        si = np.zeros((len(self.spec.sensors), len(sensors)), dtype=np.float32)
        si[self.signals.observed] = sensors.T
        with np.errstate(over="ignore", invalid="ignore"):  # far out of range, infinities are clipped a line later
            return self.policy.act(self.signals.observe(si).T, memory.ticks, memory.previous)

    def actuators(self, sensors: F32, memory: Memory | None = None) -> F32:
        """Observed sensors in SI (B, n_observed) to actuator commands in SI (B, n_actuators), float32.

        Without a memory every row is the first of an episode.
        """
        return self.commands(self.actions(sensors, memory or first_memory(self.policy.spec, len(sensors))))

    def commands(self, actions: F32) -> F32:
        """Actions in [-1, 1] to actuator commands in SI, both (B, n_actuators)."""
        with np.errstate(over="ignore", invalid="ignore"):
            command = actions.T * self.signals.action_half + self.signals.action_centre
        return np.ascontiguousarray(command.T)

    def difference(self, left: F32, right: F32) -> float:
        """Largest |left - right| of two command arrays (B, n_actuators), in half ranges; NaN if either holds one."""
        if left.size == 0:
            return 0.0
        gap = np.abs(left.astype(np.float64) - right.astype(np.float64))
        return float(np.max(gap / self.signals.action_half[:, 0]))


def reference_of(policy: Policy, spec: RobotSpec) -> Reference:
    """The policy with its robot, or an error that says why it cannot be exported.

    Raises:
        PolicyError: a parameter or a number of the normaliser is not finite.
        ExportError: the policy and the robot differ in their numbers of inputs or outputs, the normaliser is not
            float32 or scales by something that is not positive, or the robot has a number that float32 cannot hold.
    """
    check_theta(policy.spec, policy.theta)  # again: the array may have been written to since the policy was made
    for name in ("mean", "inverse_std"):
        values = getattr(policy.normaliser, name)
        if values.dtype != np.float32:
            raise ExportError(f"the normaliser's {name} is {values.dtype}; make it float32, then export again.")
        if not np.isfinite(values).all():
            raise PolicyError(f"the normaliser's {name} holds NaN or infinity; go back to an earlier checkpoint.")
    if not (policy.normaliser.inverse_std > 0).all():
        raise ExportError("the normaliser's inverse_std must be above zero for every input; train it again.")
    for what, ours, theirs in (
        ("inputs", policy.spec.inputs, len(spec.observed)),
        ("outputs", policy.spec.outputs, len(spec.actuators)),
    ):
        if ours != theirs:
            kind = "observed sensors" if what == "inputs" else "actuators"
            raise ExportError(
                f"the policy ({policy.spec.describe()}) has {ours} {what}, robot {spec.name!r} has {theirs} {kind}; "
                "export it with the robot it was trained for."
            )
    return Reference(policy, spec, signals_of(spec))


def _ranges(spec: RobotSpec) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    low = np.array([s.range[0] for s in spec.observed])
    high = np.array([s.range[1] for s in spec.observed])
    return low, high


def random_sensors(spec: RobotSpec, samples: int, seed: int) -> F32:
    """Finite sensor values in SI, shape (samples, n_observed), float32: a function of the seed.

    Seven in ten rows lie in the sensors' ranges, two in ten reach three times as far, and one in ten is made of
    extremes: range ends and their float32 neighbours, both zeros, the smallest and the largest float32.
    """
    low, high = _ranges(spec)
    n = len(low)
    u = directions.uniforms(seed, samples * n).reshape(samples, n)
    values = low + u * (high - low)
    kind = np.arange(samples) % 10
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    beyond = (kind == 7) | (kind == 8)
    values[beyond] = centre + 3.0 * (2.0 * u[beyond] - 1.0) * half
    out = values.astype(np.float32)

    info = np.finfo(np.float32)
    ends = [e for end in (low, high) for e in _neighbours(end)]
    fixed = [0.0, -0.0, float(info.smallest_subnormal), -float(info.tiny), float(info.max), -float(info.max)]
    table = np.stack([*ends, *(np.full(n, v, np.float32) for v in fixed)])  # (extremes, n_observed)
    extreme = kind == 9
    choice = (u[extreme] * len(table)).astype(np.int64)
    out[extreme] = np.take_along_axis(table, choice, axis=0)
    return out


def first_memory(policy: PolicySpec, samples: int) -> Memory:
    """Memories at the beginning of an episode."""
    return Memory(np.zeros(samples, dtype=np.int64), np.zeros((samples, policy.outputs), dtype=np.float32))


def random_memory(policy: PolicySpec, samples: int, seed: int) -> Memory:
    """Memories to go with `random_sensors`: all steps of the clock in turn, last actions over all of [-1, 1]."""
    memory = first_memory(policy, samples)
    memory.ticks[:] = np.arange(samples) % (policy.clock_steps or 1)
    if policy.action_filter is not None:
        u = directions.uniforms(directions.fold(seed, 1), memory.previous.size)
        memory.previous[:] = (2 * u - 1).reshape(memory.previous.shape)
    return memory


def _neighbours(end: npt.NDArray[np.float64]) -> tuple[F32, F32, F32]:
    exact = end.astype(np.float32)
    return exact, np.nextafter(exact, np.float32(-np.inf)), np.nextafter(exact, np.float32(np.inf))


def _unclipped(reference: Reference, pool: F32, ticks: npt.NDArray[np.int64]) -> F32:
    """For each tick the row of `pool`, not taken yet, that clips the fewest outputs; shape (ticks, n_observed)."""
    policy = reference.policy
    unfiltered = Policy(policy.spec.model_copy(update={"action_filter": None}), policy.theta, policy.normaliser)
    rows = replace(reference, policy=unfiltered)
    free = np.ones(len(pool), dtype=np.bool_)
    taken: list[int] = []
    for tick in ticks:
        memory = Memory(np.full(len(pool), tick), np.zeros((len(pool), policy.spec.outputs), dtype=np.float32))
        clipped = (np.abs(rows.actions(pool, memory)) >= 1).sum(axis=1)
        taken.append(int(np.argmin(np.where(free, clipped, policy.spec.outputs + 1))))
        free[taken[-1]] = False
    return pool[taken]


def make_vectors(reference: Reference, count: int) -> tuple[F32, F32]:
    """Test vectors for the device: sensors (count, n_observed) and the commands they must give (count, n_actuators).

    The first seven are the middle of the ranges, zeros, all low, all high, alternating, and twice as far on either
    side. The others are random and chosen out of a larger draw, those first whose commands are not clipped: an
    output at its limit would hide a wrong weight.

    They are one episode: an action filter goes on from vector to vector, and the ticks of a clock of n steps are
    vector * n // count, all around it.

    Raises:
        ExportError: a command is not finite (the parameters are so large that a sum overflows), or count is below 8.
    """
    if count < 8:
        raise ExportError(f"{count} test vectors were asked for; at least 8 are needed.")
    layout = reference.policy.spec
    low, high = _ranges(reference.spec)
    centre, half, even = 0.5 * (low + high), high - low, np.arange(len(low)) % 2 == 0
    fixed = [centre, 0 * centre, low, high, np.where(even, low, high), centre - half, centre + half]
    u = directions.uniforms(directions.fold(0, len(low)), 16 * count * len(low)).reshape(-1, len(low))
    ticks = np.arange(count) * (layout.clock_steps or 0) // count
    chosen = _unclipped(reference, (low + u * (high - low)).astype(np.float32), ticks[len(fixed) :])
    sensors = np.concatenate([np.array(fixed, dtype=np.float32), chosen])
    previous = np.zeros((1, layout.outputs), dtype=np.float32)
    commands = np.empty((count, layout.outputs), dtype=np.float32)
    for row in range(count):
        previous = reference.actions(sensors[row : row + 1], Memory(ticks[row : row + 1], previous))
        commands[row] = reference.commands(previous)
    if not np.isfinite(commands).all():
        row = int(np.flatnonzero(~np.isfinite(commands).all(axis=1))[0])
        raise ExportError(
            f"the policy gives a command that is not finite for sensors {sensors[row].tolist()}: its parameters reach "
            f"{float(np.abs(reference.policy.theta).max()):.3g} and a sum overflows. Go back to an earlier checkpoint."
        )
    return sensors, commands
