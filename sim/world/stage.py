"""A world without physics that shows simple shapes: the picture of bodies that have none of their own.

The branches of a multibody (sim/world/branches.py) carry masses and no shapes, because shapes cost time. For a picture
their plant describes itself as a Scene, and a Stage shows it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .camera import U8, Camera, Point, View
from .engine import bullet


@dataclass(frozen=True)
class Shape:
    """A box (size: three edges, m), a ball (radius) or a cylinder (radius, length along its own z) in a colour.

    Attributes:
        colour: red, green, blue, 0 to 1.
        position: of its middle, m.
        orientation: quaternion x, y, z, w.
    """

    kind: Literal["box", "ball", "cylinder"]
    size: tuple[float, ...]
    colour: tuple[float, float, float]
    position: Point
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Scene:
    """What one robot looks like now.

    Attributes:
        shapes: their number, kinds, sizes and colours stay the same over an episode.
        centre: what the camera looks at, m.
        reach: how far around the centre must be seen, m.
        view: the direction to look from.
        mark: where the robot is; a trail is drawn through these points. None for no trail.
        floor: height of the floor, m; None for no floor.
    """

    shapes: Sequence[Shape]
    centre: Point
    reach: float
    view: View
    mark: Point | None = None
    floor: float | None = 0.0


TRAIL_COLOUR = (0.90, 0.38, 0.05)


class Stage:
    """Shows the scenes of one robot in one episode, one after the other."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._client: int = bullet.connect(bullet.DIRECT)
        self._size = size
        self._bodies: list[int] = []
        self._dot: int | None = None
        self._camera: Camera | None = None

    def picture(self, scene: Scene) -> U8:
        """RGB, (height, width, 3)."""
        client = {"physicsClientId": self._client}
        if self._camera is None:
            self._camera = Camera(self._client, scene.view, self._size, scene.floor)
            self._bodies = [self._make(shape) for shape in scene.shapes]
        for body, shape in zip(self._bodies, scene.shapes, strict=True):
            bullet.resetBasePositionAndOrientation(body, shape.position, shape.orientation, **client)
        if scene.mark is not None:
            self._leave_mark(scene.mark, 0.012 * scene.reach)
        return self._camera.picture(scene.centre, scene.reach)

    def _leave_mark(self, at: Point, radius: float) -> None:
        client = {"physicsClientId": self._client}
        if self._dot is None:
            self._dot = bullet.createVisualShape(
                bullet.GEOM_SPHERE, radius=radius, rgbaColor=[*TRAIL_COLOUR, 1.0], **client
            )
        bullet.createMultiBody(0.0, -1, self._dot, at, **client)

    def _make(self, shape: Shape) -> int:
        colour = {"rgbaColor": [*shape.colour, 1.0], "specularColor": [0.1] * 3, "physicsClientId": self._client}
        if shape.kind == "box":
            visual = bullet.createVisualShape(bullet.GEOM_BOX, halfExtents=[e / 2 for e in shape.size], **colour)
        elif shape.kind == "ball":
            visual = bullet.createVisualShape(bullet.GEOM_SPHERE, radius=shape.size[0], **colour)
        else:
            radius, length = shape.size
            visual = bullet.createVisualShape(bullet.GEOM_CYLINDER, radius=radius, length=length, **colour)
        body: int = bullet.createMultiBody(
            0.0, -1, visual, shape.position, shape.orientation, physicsClientId=self._client
        )
        return body

    def close(self) -> None:
        with contextlib.suppress(bullet.error):
            bullet.disconnect(physicsClientId=self._client)
