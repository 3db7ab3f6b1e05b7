"""A two-joint arm in the vertical plane, with hobby servos that report nothing and a tool at its tip.

Each servo pulls towards its target like a spring, so it sags under a load that nobody compensates; how far depends on
the tool. Arms are branches of one multibody, up to 32 a world. Angles: the shoulder's from the horizontal, the elbow's
from the upper arm, both upwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..world import Branches, Link

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

UPPER_M, UPPER_KG = 0.25, 0.2
FORE_M, FORE_KG = 0.2, 0.12
#: of a servo's rotor, seen through its gears, carried by the link it turns
GEAR_KGM2 = 0.01
TOOL_KG, TOOL_KGM2 = 0.1, 1e-4
LINKS = (
    Link("upper", "revolute", (0.0, -1.0, 0.0), UPPER_KG, GEAR_KGM2, (UPPER_M / 2.0, 0.0, 0.0)),
    Link("fore", "revolute", (0.0, -1.0, 0.0), FORE_KG, GEAR_KGM2, (FORE_M / 2.0, 0.0, 0.0), (UPPER_M, 0.0, 0.0)),
    Link("tool", "fixed", (0.0, 0.0, 1.0), TOOL_KG, TOOL_KGM2, origin_m=(FORE_M, 0.0, 0.0)),
)
GRAVITY_M_S2 = 9.81

STIFFNESS_NM_RAD = np.array([[12.0], [6.0]])
DAMPING_NMS_RAD = np.array([[0.7], [0.2]])
MAX_TORQUE_NM = np.array([[8.0], [4.0]])


def tip(angles: F64) -> F64:
    """Where the tool is, (2, ...) m: forward and up from the shoulder, for angles (2, ...) in rad."""
    shoulder, fore = angles[0].copy(), angles[0] + angles[1]  # contiguous: numpy's sine has the same bits for any B
    return np.stack(
        [UPPER_M * np.cos(shoulder) + FORE_M * np.cos(fore), UPPER_M * np.sin(shoulder) + FORE_M * np.sin(fore)]
    )


class ReacherBodies:
    """B arms side by side.

    Args:
        control_rate_hz, physics_rate_hz: a servo target is held for physics_rate / control_rate steps.

    Attributes after `reset`:
        position, velocity: of shoulder and elbow, (2, B) in rad and rad/s.
    """

    def __init__(self, control_rate_hz: int, physics_rate_hz: int) -> None:
        self._branches = Branches(LINKS, physics_rate_hz, GRAVITY_M_S2)
        self._substeps = physics_rate_hz // control_rate_hz

    def reset(self, positions: F64, tools_kg: F64, friction_nms_rad: F64) -> None:
        """At rest at `positions` (2, B) in rad, with tools (B,) in kg and viscous friction (B,) in both joints."""
        self._branches.reset(positions)
        self._branches.load("tool", tools_kg)
        self.position, self.velocity = self._branches.position, self._branches.velocity
        self._targets, self._drag = np.empty_like(self.velocity), np.empty_like(self.velocity)
        # as wide as the batch and laid out alike, so that the servo is a few plain passes over memory
        self._stiffness, self._damping, self._limit, self._friction = (np.empty_like(self.velocity) for _ in range(4))
        self._stiffness[...], self._damping[...] = STIFFNESS_NM_RAD, DAMPING_NMS_RAD
        self._limit[...], self._friction[...] = MAX_TORQUE_NM, friction_nms_rad

    def step(self, targets: F64, torque_on: bool, running: Bool | None = None) -> None:
        """One control period at servo targets (2, B) in rad; arms that are not `running` may be left alone."""
        self._targets[...] = targets
        torque, drag = self._branches.force, self._drag
        for _ in range(self._substeps):
            torque[...] = 0.0
            if torque_on:
                np.subtract(self._targets, self.position, out=torque)
                np.multiply(torque, self._stiffness, out=torque)
                np.subtract(torque, np.multiply(self.velocity, self._damping, out=drag), out=torque)
                np.maximum(torque, -self._limit, out=torque)
                np.minimum(torque, self._limit, out=torque)
            np.subtract(torque, np.multiply(self.velocity, self._friction, out=drag), out=torque)
            self._branches.step(running)

    def close(self) -> None:
        self._branches.close()
