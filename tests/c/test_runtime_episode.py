"""episode.c against the arithmetic of signals.py: one episode has the same bits on the controller and in numpy."""

import ctypes
import subprocess

import numpy as np
import pytest

from esmaml_robot.bridge.episode import episode_return
from esmaml_robot.bridge.messages import Flag
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec
from esmaml_robot.robot_spec import load_robot, parse_robot
from esmaml_robot.signals import Signals
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

GOES_ON, COMPLETE, ABORT, NOT_FINITE = range(4)

GLUE = """
#include "episode.h"
struct episode episode;
void start(uint32_t id) { episode_start(&episode, id); }
int tick(const float *parameters, const int32_t *sensors) { return (int)episode_tick(&episode, parameters, sensors); }
int tick_held(const int32_t *sensors) { return (int)episode_tick_held(&episode, sensors); }
void hold(void) { episode_hold(&episode); }
int32_t *command(void) { return episode.command; }
float total(void) { return episode.total; }
int at(void) { return episode.tick; }
int flags(void) { return episode.flags; }
int abort_index(void) { return episode.abort_index; }
"""

#: Every kind of reward term, an actuator that holds its last command, tight rate limits, a reward after the abort.
RICH = """
format: 1
name: rich
control_rate_hz: 50
physics_rate_hz: 50
episode: {steps: 60, reset: self}
watchdog: {hold_ms: 60, release_ms: 200}
sensors:
  - {name: a, unit: rad, source: adc.0, counts: [0, 4095], scale: 0.0015339, offset: -3.14, range: [-3.0, 3.0], observed: true}
  - {name: b, unit: m, source: enc.1, counts: [-30000, 30000], scale: -0.0007, offset: 0.1, range: [-20, 20], observed: true}
  - {name: c, unit: V, source: adc.2, counts: [0, 1023], scale: 0.01, range: [0, 10], observed: false}
actuators:
  - {name: u, unit: V, sink: pwm.0, counts: [-255, 255], scale: 0.047, range: [-11.5, 11.5], rate_limit: 60, hold: last, safe: 0.0}
  - {name: w, unit: rad, sink: servo.1, counts: [900, 2100], scale: 0.0015, offset: -2.25, range: [-0.8, 0.8], rate_limit: 4, hold: 0.3, safe: 0.1}
abort:
  - {name: c_high, sensor: c, allowed: [-1, 10.0]}
reward:
  terms:
    - {kind: constant, weight: 0.7}
    - {kind: linear, sensor: a, weight: -0.3}
    - {kind: square, sensor: b, weight: -0.01, target: 0.4}
    - {kind: progress, sensor: b, weight: 3.3}
    - {kind: action_square, actuator: u, weight: -0.002}
  after_abort: -0.37
"""  # noqa: E501


class Compiled:
    """episode.c for one robot, and the same in numpy."""

    def __init__(self, spec, folder, **kind) -> None:
        self.spec, self.signals = spec, Signals(spec)
        self.policy = PolicySpec(inputs=len(spec.observed), outputs=len(spec.actuators), hidden=(6,), **kind)
        rng = np.random.default_rng(4)
        self.theta = rng.normal(scale=1.5, size=self.policy.dimension).astype(np.float32)
        plain = Normaliser.identity(self.policy.inputs)
        self.batch = PolicyBatch(self.policy, self.theta[None], plain)
        write_policy_c(Policy(self.policy, self.theta, plain), spec, folder)
        write_robot_c(spec, folder)
        (folder / "glue.c").write_text(GLUE)
        sources = [
            RUNTIME / "episode.c",
            RUNTIME / "act.c",
            *(folder / f"{n}.c" for n in ("policy", "robot_model", "glue")),
        ]
        subprocess.run(
            ["cc", "-std=c99", "-O2", "-ffp-contract=off", *WARNINGS, "-fsanitize=undefined",
             "-fno-sanitize-recover=all", "-shared", "-fPIC", f"-I{RUNTIME}", f"-I{folder}", *map(str, sources),
             "-o", str(folder / "episode.so")],
            check=True,
        )  # fmt: skip
        self.c = ctypes.CDLL(str(folder / "episode.so"))
        self.c.total.restype = ctypes.c_float
        self.c.command.restype = ctypes.POINTER(ctypes.c_int32)

    def tick(self, sensors: np.ndarray, theta: np.ndarray | None = None) -> int:
        values = self.theta if theta is None else theta
        return self.c.tick(ctypes.c_void_p(values.ctypes.data), ctypes.c_void_p(sensors.ctypes.data))

    def command(self) -> np.ndarray:
        return np.ctypeslib.as_array(self.c.command(), shape=(len(self.spec.actuators),)).copy()

    def sensors(self, rng) -> np.ndarray:
        """Counts over the whole range, abort conditions not met."""
        low, high = self.signals.sensor_low.ravel(), self.signals.sensor_high.ravel()
        while True:
            counts = rng.integers(low, high + 1).astype(np.int32)
            if not self.signals.aborted(self.signals.to_si(counts[:, None]))[0]:
                return counts

    def expected_command(self, sensors, previous, tick) -> np.ndarray:
        if tick == 0:
            self.batch.reset()
        action = self.batch.act(self.signals.observe(self.signals.to_si(sensors[:, None])), tick)
        return self.signals.limit(self.signals.to_counts(action), previous[:, None])[:, 0]


#: A policy that remembers: a clock shorter than the episode, and a filter.
MEMORY = {"clock_steps": 23, "action_filter": 0.4, "layers": "low_displacement", "displacement_rank": 2}


@pytest.fixture(scope="module", params=["rover_uno", "rich", "rich with memory"])
def compiled(request, tmp_path_factory):
    spec = load_robot("rover_uno") if request.param == "rover_uno" else parse_robot(RICH, "rich.yaml")
    kind = MEMORY if "memory" in request.param else {}
    return Compiled(spec, tmp_path_factory.mktemp(request.param.replace(" ", "_")), **kind)


@pytest.mark.parametrize("episode", [1, 2])
def test_a_whole_episode_has_the_same_bits(compiled, episode):
    rng = np.random.default_rng(episode)
    compiled.c.start(1)
    safe = compiled.signals.safe[:, 0]
    previous, sensors_seen, commands = safe, [], []
    flags_seen = Flag(0)
    for t in range(compiled.spec.episode.steps):
        sensors = compiled.sensors(rng)
        assert compiled.tick(sensors) == GOES_ON
        assert compiled.c.at() == t
        command = compiled.command()
        assert command.tolist() == compiled.expected_command(sensors, previous, t).tolist()
        flags_seen |= Flag(compiled.c.flags())
        sensors_seen.append(sensors)
        commands.append(command)
        previous = command
    last = compiled.sensors(rng)
    assert compiled.tick(last) == COMPLETE
    total = episode_return(
        compiled.signals, np.array([*sensors_seen, last]), np.array([*commands, safe]), aborted=False
    )
    assert np.float32(compiled.c.total()).tobytes() == total.tobytes()
    assert compiled.c.abort_index() == 0
    assert flags_seen & (Flag.CLIPPED | Flag.RATE_LIMITED)


@pytest.mark.parametrize("at", [1, 17])
def test_an_abort_is_paid_for_every_period_it_cuts_off(compiled, at):
    rng = np.random.default_rng(at)
    compiled.c.start(1)
    seen, commands = [], []
    for _ in range(at):
        seen.append(compiled.sensors(rng))
        assert compiled.tick(seen[-1]) == GOES_ON
        commands.append(compiled.command())
    out = compiled.sensors(rng)
    condition = compiled.spec.abort[-1]
    index = [s.name for s in compiled.spec.sensors].index(condition.sensor)
    out[index] = compiled.signals.sensor_high[index, 0]
    assert compiled.tick(out) == ABORT
    assert compiled.c.abort_index() == len(compiled.spec.abort)
    total = episode_return(
        compiled.signals, np.array([*seen, out]), np.array([*commands, compiled.signals.safe[:, 0]]), aborted=True
    )
    assert np.float32(compiled.c.total()).tobytes() == total.tobytes()


def test_an_episode_begins_at_the_safe_command_and_limits_from_there(compiled):
    rng = np.random.default_rng(9)
    safe = compiled.signals.safe[:, 0]
    for _ in range(50):
        compiled.c.start(1)
        compiled.tick(compiled.sensors(rng))
        assert (np.abs(compiled.command() - safe) <= compiled.signals.slew[:, 0]).all()


def test_a_policy_that_gives_nan_releases(compiled):
    compiled.c.start(1)
    rng = np.random.default_rng(2)
    assert compiled.tick(compiled.sensors(rng)) == GOES_ON
    theta = compiled.theta.copy()
    theta[-1] = np.nan
    assert compiled.tick(compiled.sensors(rng), theta) == NOT_FINITE
    assert compiled.command().tolist() == compiled.signals.safe[:, 0].tolist()
    assert compiled.c.flags() & Flag.RELEASED


def test_hold_keeps_what_the_robot_file_says(compiled):
    compiled.c.start(1)
    rng = np.random.default_rng(3)
    for _ in range(5):
        compiled.tick(compiled.sensors(rng))
    last, total = compiled.command(), compiled.c.total()
    compiled.c.hold()
    signals = compiled.signals
    held = np.where(signals.hold_last[:, 0], last, signals.hold[:, 0])
    sensors = compiled.sensors(rng)
    assert compiled.c.tick_held(ctypes.c_void_p(sensors.ctypes.data)) == GOES_ON
    assert compiled.command().tolist() == held.tolist()
    assert compiled.c.flags() == Flag.HELD
    assert compiled.c.total() == total, "an episode that entered HOLD earns nothing more"
