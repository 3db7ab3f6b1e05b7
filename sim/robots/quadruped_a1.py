"""Unitree A1, PyBullet's a1.urdf: what it takes commands for, and the joint angles that put a foot somewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .quadruped import QuadrupedBody
from .quadruped_gait import LEGS, SIDES, Point, Stride, Trot

_HIP_X, _HIP_Y = 0.183, 0.047
_OFFSET, _LINK = 0.08505, 0.2
_ENDS = (1.0, 1.0, -1.0, -1.0)
#: Reach of a leg, m: what the knee's limits (-2.70 to -0.92 rad) leave.
_SHORTEST, _LONGEST = 0.09, 0.358
_HIP_LIMIT = 0.80

COMMANDS = (
    *("stride_x", "stride_y", "turn", "height_change"),
    *(f"out_{leg}" for leg in LEGS),
    *(f"down_{leg}" for leg in LEGS),
)


def read_command(command: Sequence[float]) -> Stride:
    """COMMANDS (m, rad) as a stride; `out` and `down` are of the foot."""
    x, y, turn, height = command[:4]
    feet = [(0.0, side * out, -height - down) for side, out, down in zip(SIDES, command[4:8], command[8:], strict=True)]
    return Stride(x, y, turn, feet)


def read_stride(command: Sequence[float]) -> Stride:
    """The first three of COMMANDS alone: the feet stay where they belong."""
    return Stride(command[0], command[1], command[2], [(0.0, 0.0, 0.0)] * len(LEGS))


def joint_angles(feet: Sequence[Point]) -> list[float]:
    """Angles (rad) of hip (abduction), thigh and knee, leg by leg, that put the feet (m, trunk's frame) there.

    A point out of reach becomes the nearest the leg can do in its direction.
    """
    angles: list[float] = []
    for (x, y, z), end, side in zip(feet, _ENDS, SIDES, strict=True):
        x -= end * _HIP_X
        y -= side * _HIP_Y
        down = math.sqrt(max(y * y + z * z - _OFFSET * _OFFSET, 1e-6))
        hip = math.atan2(z, y) - math.atan2(-down, side * _OFFSET)
        hip = (hip + math.pi) % (2.0 * math.pi) - math.pi
        length = min(max(math.hypot(x, down), _SHORTEST), _LONGEST)
        knee = -math.acos(length * length / (2.0 * _LINK * _LINK) - 1.0)
        thigh = math.atan2(-x, down) - 0.5 * knee
        angles += [min(max(hip, -_HIP_LIMIT), _HIP_LIMIT), thigh, knee]
    return angles


A1 = QuadrupedBody(
    file="pybullet_data:a1/a1.urdf",
    trunk="trunk",
    touching=tuple(f"{leg.upper()}_toe" for leg in LEGS),
    shanks=tuple(f"{leg.upper()}_lower" for leg in LEGS),
    joints=tuple(f"{leg.upper()}_{joint}_joint" for leg in LEGS for joint in ("hip", "upper", "lower")),
    commands=COMMANDS,
    read_command=read_command,
    angles=joint_angles,
    trot=Trot(
        feet=tuple((end * _HIP_X, side * (_HIP_Y + _OFFSET)) for end, side in zip(_ENDS, SIDES, strict=True)),
        height=0.25,
        lift=0.06,
    ),
    clearance=0.27,
    back=(0.0, 0.09),
    stall_torque=24.0,
    free_speed=21.0,
    servo_rate=48.0,
)

#: The same, told which way to go and nothing else.
A1_STRIDES = replace(A1, commands=COMMANDS[:3], read_command=read_stride)
