"""Task families on the half cheetah: run the way, or at the speed, that nobody told it.

Laws as in ProMP (Rothfuss et al., ICLR 2019), the set that meta-learning papers of the period share; =U(a, b): set to
a uniform draw:

    cheetah_direction   direction      = +1, -1 in turn: merit is direction * forward velocity
    cheetah_velocity    target speed   =U(0, 3) m/s: merit is -|forward velocity - target|

An episode is 2 s at 30 Hz; its return is the mean merit in m/s. ProMP also charges 0.05 times the squared action, which
is left out: with position servos it would charge for posture. Nothing ends an episode early.

Solver settings: 10 iterations and the friction pyramid run 1.5 times as fast as Bullet's defaults;
`python -m benchmarks.solver_settings` measures what they change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from esmaml_robot.evaluation import Task

from ..articulated import WIDTH
from ..family import FamilyOptions, RobotFamily
from ..laws import Cycle, Law, Uniform
from ..plant import BatchedPlant
from ..robots.cheetah import CheetahPlant
from ..world import PhysicsSettings


class CheetahOptions(FamilyOptions):
    physics: PhysicsSettings = PhysicsSettings(solver_iterations=10, cone_friction=False)


class _Cheetah(RobotFamily):
    robot = "half_cheetah"
    width = WIDTH
    Options = CheetahOptions
    options: CheetahOptions
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [], "clock_steps": 12},
        "initial": "zeros",
        "operator": {"name": "hill_climb", "queries": 10, "sigma": 0.1},
        "meta": {"pairs": 8, "sigma": 0.1, "learning_rate": 0.05, "learning_rate_final": 0.01},
        "episodes": 44_000,
    }

    @staticmethod
    def merit(task: Task, forward: float) -> float:
        """What the trainer pays for a forward velocity in m/s."""
        raise NotImplementedError

    def make_plant(self) -> BatchedPlant:
        return CheetahPlant(self.spec, self.options.physics, self.merit)


class CheetahDirection(_Cheetah):
    """Run forward or backward, whichever pays."""

    name = "cheetah_direction"
    laws: ClassVar[tuple[Law, ...]] = (Cycle("direction", (1.0, -1.0), "1", "the way that pays"),)

    @staticmethod
    def merit(task: Task, forward: float) -> float:
        return task.parameters["direction"] * forward


class CheetahVelocity(_Cheetah):
    """Run at a speed that only the reward knows."""

    name = "cheetah_velocity"
    laws: ClassVar[tuple[Law, ...]] = (Uniform("target_speed", 0.0, 3.0, "m/s", "the forward velocity that pays"),)

    @staticmethod
    def merit(task: Task, forward: float) -> float:
        return -abs(forward - task.parameters["target_speed"])
