"""Ghost Robotics' Minitaur, PyBullet's minitaur_rainbow_dash.urdf: four five-bar legs, two direct-drive motors each.

A leg's motors share an axis across the trunk. Each turns an upper link; the lower links meet in a pin, so the two motor
angles put the foot anywhere in the leg's plane, and nowhere else: this robot steps forward and backward, and turns only
where a foot slips. A URDF is a tree, so the pins are added to the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..world import Pin
from .quadruped import QuadrupedBody
from .quadruped_gait import LEGS, SIDES, Point, Stride, Trot

_HIP_X, _HIP_Y, _HIP_Z = 0.2375, 0.1265, -0.0185
#: Upper link from motor to knee, lower link from knee to pin, m. One lower link goes on, to the toe.
_UPPER, _LOWER = 0.101, 0.2
_ENDS = (1.0, 1.0, -1.0, -1.0)
#: Reach from the motors' axis to the pin, m: the upper links neither fold up nor stretch.
_SHORTEST, _LONGEST = 0.13, 0.28

COMMANDS = (
    *("stride_x", "height_change"),
    *(f"fore_{leg}" for leg in LEGS),
    *(f"down_{leg}" for leg in LEGS),
)
_NAMES = {"fr": "front_right", "fl": "front_left", "rr": "back_right", "rl": "back_left"}


def read_command(command: Sequence[float]) -> Stride:
    """COMMANDS (m) as a stride; `fore` and `down` are of the foot."""
    x, height = command[:2]
    feet = [(fore, 0.0, -height - down) for fore, down in zip(command[2:6], command[6:], strict=True)]
    return Stride(x, 0.0, 0.0, feet)


def _leg(x: float, down: float) -> tuple[float, float]:
    """Direction of the pin from the motors' axis, and half the angle between the upper links (rad)."""
    length = min(max(math.hypot(x, down), _SHORTEST), _LONGEST)
    cosine = (_UPPER * _UPPER + length * length - _LOWER * _LOWER) / (2.0 * _UPPER * length)
    return math.atan2(x, down), math.acos(min(max(cosine, -1.0), 1.0))


def joint_angles(feet: Sequence[Point]) -> list[float]:
    """Angles (rad) of the motors R and L, leg by leg, that put the pins (m, trunk's frame) there.

    y does not matter. A point out of reach becomes the nearest the leg can do in its direction.
    """
    angles: list[float] = []
    for (x, _, z), end, side in zip(feet, _ENDS, SIDES, strict=True):
        direction, half = _leg(x - end * _HIP_X, _HIP_Z - z)
        # at zero an upper link points up; R turns about -y and L about +y; on the right R is the hind one
        angles += [math.pi * -side + side * half + direction, math.pi * -side + side * half - direction]
    return angles


def _standing(height: float) -> dict[str, float]:
    """Knee angles (rad) with the pins `height` below the trunk's frame, straight under the motors."""
    _, half = _leg(0.0, height + _HIP_Z)
    lower = math.atan2(_UPPER * math.sin(half), height + _HIP_Z - _UPPER * math.cos(half))
    return {
        f"knee_{_NAMES[leg]}{motor}_joint": side * (half + lower)
        for leg, side in zip(LEGS, SIDES, strict=True)
        for motor in "RL"
    }


_HEIGHT = 0.2
#: The longer lower link of each leg, the one that has the toe: the hind one.
_SHANKS = tuple(f"lower_leg_{_NAMES[leg]}{motor}_link" for leg, motor in zip(LEGS, "RLRL", strict=True))

MINITAUR = QuadrupedBody(
    file="pybullet_data:quadruped/minitaur_rainbow_dash.urdf",
    trunk="base_chassis_link",
    touching=_SHANKS,
    shanks=_SHANKS,
    joints=tuple(f"motor_{_NAMES[leg]}{motor}_joint" for leg in LEGS for motor in "RL"),
    commands=COMMANDS,
    read_command=read_command,
    angles=joint_angles,
    trot=Trot(
        feet=tuple((end * _HIP_X, side * _HIP_Y) for end, side in zip(_ENDS, SIDES, strict=True)),
        height=_HEIGHT,
        lift=0.04,
    ),
    clearance=_HEIGHT + 0.035,
    back=(0.0, 0.1),
    stall_torque=3.5,
    free_speed=175.0,
    servo_rate=48.0,
    passive=_standing(_HEIGHT),
    pins=tuple(
        Pin(
            (f"lower_leg_{_NAMES[leg]}R_link", f"lower_leg_{_NAMES[leg]}L_link"),
            ((0.0, 0.0045, _LOWER), (0.0, 0.0045, _LOWER)),
        )
        for leg in LEGS
    ),
)
