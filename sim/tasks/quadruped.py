"""Task families on quadrupeds that trot: a body that changed, and a heading that nobody told it.

Laws; =U(a, b): set to a uniform draw; the split `outside` holds bodies beyond what training shows:

    quadruped_dynamics   battery        =U(11.5, 16.8) V    outside =U(10, 11.5) V
                         payload        =U(0, 4.5) kg       outside =U(5, 6.2) kg: half the robot's own mass
                         payload side   = 12 cm to the left or to the right
                         friction       =U(0.4, 1.2)
                         weak leg       = one of four; 45 % torque
                         latency        =U(0, 40) ms
                         merit is forward velocity less half the lateral speed

    minitaur_dynamics    the same on a Minitaur, with payload =U(0, 1) kg, outside =U(2.5, 3.7) kg: half its mass too

    quadruped_direction  heading        = forward, backward, left, right, turn in turn
                         friction       =U(0.6, 1.2)
                         merit is the velocity along the heading less half the speed across it; for the turn, the
                         speed of a foot around the middle less half that of the trunk

In the published test of ES-MAML on a robot (Song et al., IROS 2020) a Minitaur's battery sank from 16.8 to 10 V and
it got a mass on one side; `outside` is that and more. A Minitaur of 7.5 kg with 3.7 kg on one side still stands at a
full battery on four sound legs, and goes 0.3 m in an episode with strides of 0.1 m, a third of what it goes without.
What the parameters do to a body: sim/robots/quadruped.py.

An episode is 2.5 s at 40 Hz; its return is the mean merit in m/s. A fall (roll or pitch beyond 0.8 rad, or the trunk
near the floor) ends it, and costs half a metre a second for the time that is left.

Solver settings: the friction pyramid, and 10 iterations, or 30 for the Minitaur, whose pins give otherwise;
`python -m benchmarks.solver_settings` measures what they change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task

from ..family import FamilyOptions, RobotFamily
from ..laws import Choice, Cycle, Law, Uniform
from ..plant import BatchedPlant
from ..robots.quadruped import QuadrupedBody, QuadrupedPlant
from ..robots.quadruped_a1 import A1, A1_STRIDES
from ..robots.quadruped_minitaur import MINITAUR
from ..world import PhysicsSettings

#: Weight of motion across the way that pays.
DRIFT_COST = 0.5
#: What makes a speed of a turn rate: the distance of an A1's foot from its middle, m.
TURN_ARM_M = 0.22

#: Direction in the plane by number of the heading; the one that is missing is the turn.
HEADINGS = {0: (1.0, 0.0), 1: (-1.0, 0.0), 2: (0.0, 1.0), 3: (0.0, -1.0)}
TURN = 4


class QuadrupedOptions(FamilyOptions):
    physics: PhysicsSettings = PhysicsSettings(solver_iterations=10, cone_friction=False)


class MinitaurOptions(FamilyOptions):
    physics: PhysicsSettings = PhysicsSettings(solver_iterations=30, cone_friction=False)


class _Quadruped(RobotFamily):
    robot = "a1"
    body: ClassVar[QuadrupedBody] = A1
    #: a world of an A1 takes 40 MB
    width = 6
    Options: ClassVar[type[FamilyOptions]] = QuadrupedOptions
    options: QuadrupedOptions | MinitaurOptions
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": []},
        "initial": "zeros",
        "operator": {"name": "hill_climb", "queries": 10, "sigma": 0.1},
        "meta": {"pairs": 8, "sigma": 0.08, "learning_rate": 0.03},
        "episodes": 32_000,
    }

    @staticmethod
    def merit(task: Task, forward: float, lateral: float, turn_rate: float) -> float:
        """What the trainer pays for velocities in m/s and a turn rate in rad/s."""
        raise NotImplementedError

    def make_plant(self) -> BatchedPlant:
        return QuadrupedPlant(self.spec, self.options.physics, self.body, self.merit)


def _dynamics(payload: tuple[float, float], outside: tuple[float, float]) -> tuple[Law, ...]:
    """Laws of a body that changes, with the payload's range in kg."""
    return (
        Uniform("battery_v", 11.5, 16.8, "V", "supply of the motors", outside=(10.0, 11.5)),
        Uniform("payload_kg", *payload, "kg", "mass on the trunk's back", outside=outside),
        Choice("payload_y_m", (-0.12, 0.12), "m", "where it is, to the left of the middle"),
        Uniform("friction", 0.4, 1.2, "1", "coefficient between feet and floor"),
        Choice("weak_leg", (0.0, 1.0, 2.0, 3.0), "1", "leg whose motors have 45 % of their torque"),
        Uniform("latency_s", 0.0, 0.04, "s", "from the gait controller to the servos"),
    )


class QuadrupedDynamics(_Quadruped):
    """Walk on, on an A1 with a payload, a low battery, a weak leg, a slow link."""

    name = "quadruped_dynamics"
    laws = _dynamics((0.0, 4.5), outside=(5.0, 6.2))

    @staticmethod
    def merit(task: Task, forward: float, lateral: float, turn_rate: float) -> float:
        return forward - DRIFT_COST * abs(lateral)


class MinitaurDynamics(QuadrupedDynamics):
    """Walk on, on a Minitaur with a payload, a low battery, a weak leg, a slow link."""

    name = "minitaur_dynamics"
    robot = "minitaur"
    body = MINITAUR
    Options = MinitaurOptions
    laws = _dynamics((0.0, 1.0), outside=(2.5, 3.7))


class QuadrupedDirection(_Quadruped):
    """Walk an A1 forward, backward, left or right, or turn it: whatever pays."""

    name = "quadruped_direction"
    robot = "a1_odometry"
    body = A1_STRIDES
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 3.0,
        "operator": {"name": "hill_climb", "queries": 10, "sigma": 0.2},
        "meta": {"pairs": 16, "sigma": 0.1, "learning_rate": 0.03},
        "episodes": 100_000,
    }
    laws = (
        Cycle("heading", (0.0, 1.0, 2.0, 3.0, float(TURN)), "1", "forward, backward, left, right, turn"),
        Uniform("friction", 0.6, 1.2, "1", "coefficient between feet and floor"),
    )

    @staticmethod
    def merit(task: Task, forward: float, lateral: float, turn_rate: float) -> float:
        heading = int(task.parameters["heading"])
        if heading == TURN:
            return TURN_ARM_M * turn_rate - DRIFT_COST * math.hypot(forward, lateral)
        if heading not in HEADINGS:  # of a task of the user's own
            raise ConfigError(f"task key 'heading' is {heading}; known: {', '.join(map(str, [*HEADINGS, TURN]))}.")
        x, y = HEADINGS[heading]
        return x * forward + y * lateral - DRIFT_COST * abs(x * lateral - y * forward)
