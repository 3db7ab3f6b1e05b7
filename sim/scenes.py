"""What the bodies without shapes of their own look like: the rover, the cart-pole, the arm.

Colours are Okabe and Ito's, told apart by colour-blind viewers too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from .world import Scene, Shape, View

ORANGE, BLUE, GREEN = (0.93, 0.50, 0.16), (0.0, 0.45, 0.70), (0.0, 0.62, 0.45)
GREY, DARK = (0.62, 0.65, 0.69), (0.2, 0.2, 0.2)

#: The rover is drawn this long, m: large enough to be seen in its arena.
ROVER_M = 0.42


def rover_scene(
    position: tuple[float, float],
    goals: Sequence[tuple[float, float]],
    others: Sequence[tuple[float, float]],
    reach: float,
    *,
    scale: float = 1.0,
    signal_m: float = 0.0,
) -> Scene:
    """A rover on a floor with its goals, green beacons, and grey posts where a goal could be. Metres.

    `signal_m` is how far a beacon's signal reaches, drawn as a dashed circle.
    """
    x, y = position
    size = ROVER_M * scale
    wheel = 0.22 * size
    upright = (math.sin(math.pi / 4), 0.0, 0.0, math.cos(math.pi / 4))  # a cylinder's axis along y
    shapes: list[Shape] = [
        Shape("box", (size, 0.7 * size, 0.28 * size), ORANGE, (x, y, 0.36 * size)),
        Shape("box", (0.4 * size, 0.5 * size, 0.16 * size), DARK, (x, y, 0.58 * size)),
        *(
            Shape("cylinder", (wheel, 0.14 * size), DARK, (x + dx * size, y + dy * size, wheel), upright)
            for dx in (-0.32, 0.32)
            for dy in (-0.42, 0.42)
        ),
    ]
    for goal in goals:
        shapes += _beacon(goal, GREEN, 1.6 * size)
        if signal_m:
            shapes += _dashed_circle(goal, signal_m, GREEN, 0.05 * size)
    for other in others:
        shapes += _beacon(other, GREY, 0.8 * size)
    centre = (0.0, 0.0, 0.0)
    return Scene(shapes, centre, reach, View(yaw_deg=0.0, pitch_deg=-58.0), mark=(x, y, 0.02 * size))


def _beacon(at: tuple[float, float], colour: tuple[float, float, float], height: float) -> list[Shape]:
    x, y = at
    return [
        Shape("cylinder", (0.10 * height, height), colour, (x, y, height / 2)),
        Shape("ball", (0.22 * height,), colour, (x, y, height)),
    ]


def _dashed_circle(
    centre: tuple[float, float], radius: float, colour: tuple[float, float, float], thickness: float
) -> list[Shape]:
    dashes = 36
    length = math.pi * radius / dashes
    out = []
    for dash in range(dashes):
        turn = 2 * math.pi * dash / dashes
        at = (centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn), thickness / 2)
        along = (0.0, 0.0, math.sin(turn / 2), math.cos(turn / 2))
        out.append(Shape("box", (2 * thickness, length, thickness), colour, at, along))
    return out


def cartpole_scene(x: float, angle: float, pole_m: float, rail_m: float) -> Scene:
    """A cart at `x` (m) on a rail, the pole at `angle` (rad) from upright, growing towards +x."""
    cart = 0.12
    tip = math.sin(angle), math.cos(angle)
    turned = (0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2))
    shapes = [
        Shape("box", (2 * rail_m + 0.3, 0.02, 0.02), GREY, (0.0, 0.0, 0.0)),
        *(Shape("box", (0.02, 0.1, 0.1), DARK, (side * (rail_m + 0.15), 0.0, 0.0)) for side in (-1, 1)),
        Shape("box", (0.22, 0.14, cart), ORANGE, (x, 0.0, cart / 2)),
        Shape(
            "cylinder",
            (0.018, pole_m),
            BLUE,
            (x + pole_m / 2 * tip[0], -0.09, cart / 2 + pole_m / 2 * tip[1]),
            turned,
        ),
        Shape("ball", (0.03,), DARK, (x, -0.09, cart / 2)),
    ]
    centre = (0.0, 0.0, 0.25)
    return Scene(shapes, centre, rail_m + 0.15, View(yaw_deg=0.0, pitch_deg=-8.0), floor=-0.4)


def arm_scene(joints: Sequence[tuple[float, float]], planned: tuple[float, float], reach: float, load: float) -> Scene:
    """An arm in the vertical plane: its joints from the shoulder to the tip, (forward, up) in m, and the planned tip.

    `load` is the radius of the tool, m.
    """
    shapes: list[Shape] = [Shape("box", (0.16, 0.16, 0.12), DARK, (joints[0][0], 0.0, joints[0][1] - 0.07))]
    for before, after in itertools.pairwise(joints):
        middle = (before[0] + after[0]) / 2, 0.0, (before[1] + after[1]) / 2
        forward, up = after[0] - before[0], after[1] - before[1]
        turn = math.atan2(forward, up)  # of the cylinder's own z axis, about y
        along = (0.0, math.sin(turn / 2), 0.0, math.cos(turn / 2))
        shapes.append(Shape("cylinder", (0.016, math.hypot(forward, up)), ORANGE, middle, along))
        shapes.append(Shape("ball", (0.026,), DARK, (before[0], 0.0, before[1])))
    tip = joints[-1]
    shapes.append(Shape("ball", (load,), BLUE, (tip[0], 0.0, tip[1])))
    shapes.append(Shape("ball", (0.014,), GREEN, (planned[0], 0.06, planned[1])))
    centre = (joints[0][0] + 0.4 * reach, 0.0, joints[0][1])
    return Scene(shapes, centre, reach, View(yaw_deg=15.0, pitch_deg=-10.0), mark=(tip[0], 0.0, tip[1]), floor=-reach)
