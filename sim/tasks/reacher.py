"""Task family on the two-joint arm: take an unknown tool through poses by what a camera of unknown mounting sees.

Laws, =U(a, b): set to a uniform draw:

    camera_turn                  =one of 0, pi rad        which way up the camera was mounted
    tool_kg                      =U(0.05, 0.6) kg         at the tip
    friction                     =U(0.05, 0.25) N m s/rad  viscous, in both joints
    shoulder_trim, elbow_trim    =U(-0.3, 0.3) rad        by how much a servo's horn was mounted askew

A planner takes the arm through POSES, with smooth moves of MOVE_S and a rest after each. The policy sees the planned
angles, and on the camera how far the tool is from where it was planned to be; it jogs a correction of the servo
targets, which stays within CORRECTION_RAD. The return is minus the mean distance of the tool from the plan, in cm.

The servos report nothing, so the load can only be made out by the camera. A loop that closes with the camera one way up
runs away with it the other way up, hence without adaptation no policy can close it, and what remains is the spread of
loads and trims around their mean.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..family import RobotFamily
from ..laws import Choice, Law, Uniform
from ..plant import BatchedPlant
from ..robots.reacher import FORE_M, UPPER_M, ReacherBodies, tip
from ..scenes import arm_scene
from ..world import Scene

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

SENSORS = ("planned_shoulder", "planned_elbow", "seen_right", "seen_up", "distance")
ACTUATORS = ("shoulder_jog", "elbow_jog")
CORRECTION_RAD = 0.8

#: (shoulder, elbow) in rad: reached out, raised, tucked in, low, and back
POSES = ((0.2, 0.3), (0.9, -0.4), (0.5, 1.2), (-0.4, 0.5), (0.2, 0.3))
MOVE_S = 1.0


def plan(steps: int, rate_hz: int) -> F64:
    """Planned angles at the start and after each of `steps` control periods, (steps + 1, 2) rad."""
    time = np.arange(steps + 1) / rate_hz
    leg = steps / rate_hz / (len(POSES) - 1)
    angles = np.tile(np.array(POSES[0]), (steps + 1, 1))
    for number, (before, after) in enumerate(itertools.pairwise(POSES)):
        share = np.clip((time - number * leg) / MOVE_S, 0.0, 1.0)[:, None]
        angles += share * share * (3.0 - 2.0 * share) * (np.array(after) - np.array(before))
    return angles


class ReacherPlant:
    """B arms, each with its own tool and joints; sensors SENSORS, the plan being that of the coming control period."""

    def __init__(self, spec: RobotSpec) -> None:
        found = tuple(s.name for s in spec.sensors), tuple(a.name for a in spec.actuators)
        if found != (SENSORS, ACTUATORS):
            raise ConfigError(
                f"robot {spec.name}: the simulated arm has sensors {list(SENSORS)} and actuators {list(ACTUATORS)}, "
                f"the file has {list(found[0])} and {list(found[1])}; make them agree."
            )
        self._bodies = ReacherBodies(spec.control_rate_hz, spec.physics_rate_hz)
        angles = plan(spec.episode.steps, spec.control_rate_hz)
        # one period beyond the end, for the sensors after the last one
        self._plan = np.concatenate([angles, angles[-1:]])[:, :, None]
        self._period_s = spec.control_period_s

    def reset(self, tasks: Sequence[Task], episode_seeds: npt.NDArray[np.uint32]) -> F64:
        p = [t.parameters for t in tasks]
        self._trim = np.array([[v["shoulder_trim"] for v in p], [v["elbow_trim"] for v in p]])
        turn = np.array([v["camera_turn"] for v in p])
        self._cosine, self._sine = np.cos(turn), np.sin(turn)
        self._correction = np.zeros((2, len(p)))
        self._tool_kg = np.array([v["tool_kg"] for v in p])
        self._bodies.reset(
            np.repeat(self._plan[0], len(p), axis=1),
            self._tool_kg,
            np.array([v["friction"] for v in p]),
        )
        self._tick = 0
        return self._sense()

    def step(self, commands: F32, torque_on: bool = True, running: Bool | None = None) -> F64:
        jogged = self._correction + self._period_s * commands
        self._correction = np.clip(jogged, -CORRECTION_RAD, CORRECTION_RAD)
        self._bodies.step(self._plan[self._tick + 1] + self._correction + self._trim, torque_on, running)
        # a plan that is over is held
        self._tick = min(self._tick + 1, len(self._plan) - 2)
        return self._sense()

    def scene(self, row: int) -> Scene:
        """What the arm of this row looks like now, for pictures; the green ball is where its tip was planned to be."""
        angles = self._bodies.position[:, row]
        shoulder, hand = float(angles[0]), tip(angles)
        elbow = UPPER_M * math.cos(shoulder), UPPER_M * math.sin(shoulder)
        planned = tip(self._plan[self._tick, :, 0])
        load = 0.05 * (self._tool_kg[row] / 0.6) ** (1 / 3)
        joints = [(0.0, 0.0), elbow, (float(hand[0]), float(hand[1]))]
        return arm_scene(joints, (float(planned[0]), float(planned[1])), UPPER_M + FORE_M, float(load))

    def _sense(self) -> F64:
        forward, up = tip(self._bodies.position) - tip(self._plan[self._tick])
        sensed = np.empty((len(SENSORS), self._trim.shape[1]))
        sensed[0:2] = self._plan[self._tick + 1]
        sensed[2] = self._cosine * forward - self._sine * up
        sensed[3] = self._sine * forward + self._cosine * up
        sensed[4] = np.sqrt(forward * forward + up * up)
        return sensed

    def close(self) -> None:
        self._bodies.close()


class ReacherPayload(RobotFamily):
    """Take an unknown tool through poses by what a camera of unknown mounting sees."""

    name = "reacher_payload"
    robot = "reacher"
    laws: ClassVar[tuple[Law, ...]] = (
        Choice("camera_turn", (0.0, math.pi), "rad", "which way up the camera was mounted"),
        Uniform("tool_kg", 0.05, 0.6, "kg", "mass of the tool"),
        Uniform("friction", 0.05, 0.25, "N m s/rad", "viscous friction in both joints"),
        Uniform("shoulder_trim", -0.3, 0.3, "rad", "the shoulder servo's horn, mounted askew"),
        Uniform("elbow_trim", -0.3, 0.3, "rad", "the elbow servo's horn, mounted askew"),
    )
    preset: ClassVar[Mapping[str, Any]] = {
        "policy": {"hidden": [8]},
        "initial": "rest",
        "initial_gain": 0.3,
        "operator": {"name": "hill_climb", "queries": 20, "sigma": 0.05},
        "meta": {"pairs": 64, "sigma": 0.05, "learning_rate": 0.02, "learning_rate_final": 0.002},
        "episodes": 250_000,
    }

    def make_plant(self) -> BatchedPlant:
        return ReacherPlant(self.spec)
