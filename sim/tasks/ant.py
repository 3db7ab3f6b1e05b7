"""Task family on the ant: run the way that nobody told it.

Law as AntRandDirec in ProMP (Rothfuss et al., ICLR 2019):

    ant_direction   direction   = +1, -1 in turn: merit is direction * forward velocity, m/s

An episode is 2 s at 30 Hz; its return is the mean merit in m/s. ProMP also charges for actions and contacts and pays
for every period on its feet; here the servos make the first two a matter of posture, and a fall (roll or pitch beyond
1 rad) ends the episode and counts as half a metre a second backwards for the time it cuts off.

No policy does well without adaptation: what it gains in one task it loses in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from esmaml_robot.evaluation import Task

from ..articulated import WIDTH
from ..family import FamilyOptions, RobotFamily
from ..laws import Cycle, Law
from ..plant import BatchedPlant
from ..robots.ant import AntPlant
from ..world import PhysicsSettings


class AntOptions(FamilyOptions):
    physics: PhysicsSettings = PhysicsSettings(solver_iterations=10, cone_friction=False)


class AntDirection(RobotFamily):
    """Walk forward or backward, whichever pays."""

    name = "ant_direction"
    robot = "ant"
    width = WIDTH
    Options = AntOptions
    options: AntOptions
    laws: ClassVar[tuple[Law, ...]] = (Cycle("direction", (1.0, -1.0), "1", "the way that pays"),)
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [], "clock_steps": 20},
        "initial": "zeros",
        "operator": {"name": "hill_climb", "queries": 10, "sigma": 0.1},
        "meta": {"pairs": 8, "sigma": 0.1, "learning_rate": 0.05},
        "episodes": 44_000,
    }

    @staticmethod
    def merit(task: Task, forward: float) -> float:
        """What the trainer pays for a forward velocity in m/s."""
        return task.parameters["direction"] * forward

    def make_plant(self) -> BatchedPlant:
        return AntPlant(self.spec, self.options.physics, self.merit)
