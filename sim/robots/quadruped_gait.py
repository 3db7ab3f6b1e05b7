"""The gait controller of a quadruped: a trot whose strides are commanded, as it runs on the robot's own side.

Diagonal legs move together. Through one half of the gait's cycle a foot stands and is drawn along the ground against
the stride; through the other it swings back, lifted. Commands change where the feet go, never when. This is the
trajectory generator of a policy that modulates one (Iscen et al., CoRL 2018), with commands in the space of the feet,
so that a constant command is a way to walk.

Lengths are in m, in a frame that moves with the trunk: x forward, y to the left, z up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Legs in the order of commands and joints: front right, front left, rear right, rear left.
LEGS = ("fr", "fl", "rr", "rl")
#: Which way is outward, as a sign of y.
SIDES = (-1.0, 1.0, -1.0, 1.0)
#: Where in the cycle the legs are when the first one begins to stand.
_PHASES = (0.0, 0.5, 0.5, 0.0)

Point = tuple[float, float, float]


class Stride(NamedTuple):
    """What is commanded.

    Attributes:
        x, y: how far the trunk travels while a foot stands, m.
        turn: the same, rad, counter-clockwise.
        feet: where each foot goes beside its usual place, m.
    """

    x: float
    y: float
    turn: float
    feet: Sequence[Point]


@dataclass(frozen=True)
class Trot:
    """Foot positions of a trot.

    Attributes:
        feet: x, y of the feet under a trunk that stands, in the order of LEGS.
        height: of the trunk above the feet when it stands.
        lift: of a swinging foot at its highest.
    """

    feet: tuple[tuple[float, float], ...]
    height: float
    lift: float

    def targets(self, phase: float, stride: Stride) -> list[Point]:
        """Where the four feet should be at a phase of the cycle, whose whole part does not matter."""
        points = []
        for (x, y), start, (dx, dy, dz) in zip(self.feet, _PHASES, stride.feet, strict=True):
            at = (phase + start) % 1.0
            if at < 0.5:
                along, up = 0.5 - 2.0 * at, 0.0
            else:
                swing = math.pi * (2.0 * at - 1.0)
                along, up = -0.5 * math.cos(swing), self.lift * math.sin(swing)
            points.append(
                (
                    x + dx + along * (stride.x - stride.turn * y),
                    y + dy + along * (stride.y + stride.turn * x),
                    dz + up - self.height,
                )
            )
        return points
