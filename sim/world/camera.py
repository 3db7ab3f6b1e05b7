"""Pictures of a world, off screen, with neither a display nor a GPU.

Bullet's software renderer draws the bodies. The floor and the shadows are drawn here: Bullet's own floor costs three
times as much as a robot, and its shadows come out striped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .engine import bullet

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Matrix = tuple[float, ...]
Point = tuple[float, float, float]

#: Rendered so many times larger and scaled down: edges without stairs.
OVERSAMPLING = 1.5
FIELD_OF_VIEW_DEG = 40.0
#: Share of the way to a moving target that the camera goes in one picture: it follows, it does not shake.
FOLLOWING = 0.4
SKY, SQUARES = (236, 241, 247), ((233, 234, 236), (161, 184, 230))
#: Length of the floor's squares over the reach of what stands on it, rounded to a step of 1, 2, 5.
_SQUARE_SHARE = 1.0
#: Where the light comes from, and how far away it is over the reach of what stands in it: far, so that shadows are
#: nearly parallel.
_SUN, _SUN_DISTANCE = (0.35, -0.55, 1.0), 12.0
_SHADE = 0.72
#: Half the width of what the light's own picture shows, over the reach; and its pixels.
_SHADOW_REACH, _SHADOW_PIXELS = 1.8, 256
#: The floor fades into the sky between these distances from the target, over the camera's own: far squares flicker.
_HAZE = (1.0, 5.0)
#: Depth of a pixel that shows nothing.
_NOTHING = 0.99999


@dataclass(frozen=True)
class View:
    """Where the camera stands, as seen from what it looks at.

    Attributes:
        yaw_deg: 0 looks along +y, x to the right; positive walks around the target to the right.
        pitch_deg: -90 looks straight down.
        zoom: above 1 nearer.
    """

    yaw_deg: float = 20.0
    pitch_deg: float = -20.0
    zoom: float = 1.0


def square_m(reach: float) -> float:
    """Side of the floor's squares (m) that suits a body of this reach (m): 1, 2 or 5 times a power of ten."""
    wanted = _SQUARE_SHARE * max(reach, 1e-3)
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(max(s * power for s in (1.0, 2.0, 5.0) if s * power <= wanted * (1 + 1e-9)))


class Camera:
    """Takes pictures of the world of one Bullet client.

    Args:
        client: Bullet's number of the client.
        view: the direction to look from.
        size: width and height of the pictures, pixels.
        floor: its height, m; None for no floor.
    """

    def __init__(self, client: int, view: View, size: tuple[int, int], floor: float | None = 0.0) -> None:
        self._client, self._view, self._size, self._floor = client, view, size, floor
        self._target: Point | None = None
        self._distance = self._square = 0.0

    def picture(self, centre: Point, reach: float) -> U8:
        """RGB, (height, width, 3), of what stands at `centre` (m).

        The first call decides the distance, such that `reach` (m) around the centre fits, and the height to look at;
        from then on the camera follows in the plane.
        """
        if self._target is None:
            self._target, self._square = centre, square_m(reach)
            self._distance = reach / np.tan(np.radians(FIELD_OF_VIEW_DEG / 2)) / self._view.zoom
        else:
            x, y, z = self._target
            self._target = (x + FOLLOWING * (centre[0] - x), y + FOLLOWING * (centre[1] - y), z)
        width, height = self._size
        large = round(width * OVERSAMPLING), round(height * OVERSAMPLING)
        eye = bullet.computeViewMatrixFromYawPitchRoll(
            self._target, self._distance, self._view.yaw_deg, self._view.pitch_deg, 0.0, 2
        )
        lens = bullet.computeProjectionMatrixFOV(
            FIELD_OF_VIEW_DEG, width / height, 0.05 * self._distance, 20.0 * self._distance
        )
        rgb, depth = self._shoot(large, eye, lens)
        points, empty = _points(depth, eye, lens), depth > _NOTHING
        if self._floor is not None:
            self._lay_floor(self._floor, eye, points, rgb, empty)
        away = np.sqrt(np.square(points - np.array(self._target, np.float32)).sum(axis=-1)) / self._distance
        near = ~empty & (away * self._distance < _SHADOW_REACH * reach)
        rgb[near] *= np.where(self._in_shadow(points[near], reach), np.float32(_SHADE), np.float32(1))[:, None]
        haze = np.clip((away - _HAZE[0]) / (_HAZE[1] - _HAZE[0]), 0.0, 1.0)
        haze[empty] = 1.0
        rgb += haze[:, :, None] * (np.array(SKY, np.float32) - rgb)
        small = Image.fromarray(rgb.astype(np.uint8)).resize(self._size, Image.Resampling.BOX)
        return np.asarray(small, dtype=np.uint8)

    def _shoot(self, size: tuple[int, int], eye: Matrix, lens: Matrix) -> tuple[F32, F32]:
        """Colours (height, width, 3), 0 to 255, and depths (height, width), 0 to 1."""
        _, _, pixels, depth, _ = bullet.getCameraImage(
            *size,
            eye,
            lens,
            lightDirection=_SUN,
            shadow=0,
            renderer=bullet.ER_TINY_RENDERER,
            flags=bullet.ER_NO_SEGMENTATION_MASK,
            physicsClientId=self._client,
        )
        shape = size[1], size[0]
        rgb = np.asarray(pixels, dtype=np.float32).reshape(*shape, 4)[:, :, :3].copy()
        return rgb, np.asarray(depth, dtype=np.float32).reshape(shape)

    def _lay_floor(self, height: float, eye: Matrix, points: F32, rgb: F32, empty: Bool) -> None:
        """Put the floor into a picture, in place: wherever the line of sight meets it before anything else."""
        stand = np.linalg.inv(_matrix(eye))[:3, 3].astype(np.float32)
        ray = points - stand
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (height - stand[2]) / ray[..., 2]
        seen = (share > 0.0) & (share < 1.0)
        points[seen] = stand + share[seen, None] * ray[seen]
        odd = np.floor(points[seen, :2] / self._square).sum(axis=-1) % 2.0
        rgb[seen] = np.array(SQUARES, np.float32)[odd.astype(int)]
        empty &= ~seen

    def _in_shadow(self, points: F32, reach: float) -> Bool:
        """Which points (n, 3) the light does not see."""
        assert self._target is not None
        sun = np.array(_SUN) / np.linalg.norm(_SUN)
        distance = _SUN_DISTANCE * reach
        eye = bullet.computeViewMatrix((self._target + distance * sun).tolist(), self._target, (0.0, 1.0, 0.0))
        near, far = distance - 3.0 * reach, distance + 6.0 * reach
        lens = bullet.computeProjectionMatrixFOV(
            2.0 * np.degrees(np.arctan(_SHADOW_REACH / _SUN_DISTANCE)), 1.0, near, far
        )
        _, lit = self._shoot((_SHADOW_PIXELS, _SHADOW_PIXELS), eye, lens)
        project = (_matrix(lens) @ _matrix(eye)).astype(np.float32)
        clip = points @ project[:, :3].T + project[:, 3]
        at: F32 = clip[:, :3] / clip[:, 3:]
        column = ((at[:, 0] + 1.0) / 2.0 * _SHADOW_PIXELS).astype(np.int32)
        row = ((1.0 - at[:, 1]) / 2.0 * _SHADOW_PIXELS).astype(np.int32)
        last = _SHADOW_PIXELS - 1
        reached = (np.abs(at[:, :2]) < 1.0).all(axis=-1)
        nearest = lit[np.clip(row, 0, last), np.clip(column, 0, last)]
        # compared in metres along the light, with a margin of a shadow pixel or two
        hidden = _metres((at[:, 2] + 1.0) / 2.0, near, far) > _metres(nearest, near, far) + 0.045 * reach
        dark: Bool = reached & (nearest < _NOTHING) & hidden
        return dark


def _matrix(values: Matrix) -> F64:
    """Bullet's sixteen numbers, column after column, as a matrix (4, 4)."""
    return np.array(values, dtype=np.float64).reshape(4, 4).T


def _points(depth: F32, eye: Matrix, lens: Matrix) -> F32:
    """Where in the world (m) the pixels of a depth picture are, (height, width, 3)."""
    height, width = depth.shape
    back = np.linalg.inv(_matrix(lens) @ _matrix(eye)).astype(np.float32)
    x = ((np.arange(width) + 0.5) / width * 2.0 - 1.0).astype(np.float32)
    y = (1.0 - (np.arange(height) + 0.5) / height * 2.0).astype(np.float32)
    # one matrix product, taken apart: x and y are the same along rows and columns
    world = (np.outer(y, back[:, 1]) + back[:, 3])[:, None, :] + np.outer(x, back[:, 0])[None, :, :]
    world += (2.0 * depth - 1.0)[:, :, None] * back[:, 2]
    points: F32 = world[..., :3] / world[..., 3:]
    return points


def _metres(depth: F32, near: float, far: float) -> F32:
    """Distance along the line of sight of depths of 0 to 1."""
    metres: F32 = near * far / (far - depth * (far - near))
    return metres
