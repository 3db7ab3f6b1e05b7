"""Films of episodes: several policies side by side in one task, a picture a control period, off screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task, TaskFamily
from esmaml_robot.policy import Normaliser, PolicyBatch, PolicySpec

from .articulated import ArticulatedPlant
from .stepwise import StepwiseFamily
from .world import Camera, Scene, Stage

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]

#: Width and height of one robot's picture, pixels.
SIZE = (420, 316)
_GAP, _MARGIN, _LINE = 6, 8, 19
_INK, _PALE, _PAPER = (28, 36, 48), (106, 117, 132), (255, 255, 255)


@runtime_checkable
class HasScenes(Protocol):
    """A plant whose bodies have no shapes of their own and that says what a robot of the batch looks like."""

    def scene(self, row: int) -> Scene: ...


class Painter(Protocol):
    """Takes pictures of the robots of a batch."""

    def begin(self) -> None:
        """An episode begins."""
        ...

    def picture(self, row: int) -> U8:
        """RGB of one robot as it is now, (height, width, 3)."""
        ...

    def close(self) -> None: ...


class _WorldPainter:
    """Robots that have worlds of their own."""

    def __init__(self, plant: ArticulatedPlant, size: tuple[int, int]) -> None:
        if plant.worlds and not plant.visual:
            raise ValueError("the plant's worlds were made without shapes; ask for a painter before the first episode")
        plant.visual = True
        self._plant, self._size = plant, size
        self._cameras: dict[int, Camera] = {}

    def begin(self) -> None:
        self._cameras.clear()

    def picture(self, row: int) -> U8:
        world = self._plant.worlds[row]
        if row not in self._cameras:
            self._cameras[row] = world.camera(self._plant.view, self._size)
        return self._cameras[row].picture(*world.bounds())

    def close(self) -> None:
        self._cameras.clear()


class _ScenePainter:
    """Robots that describe themselves."""

    def __init__(self, plant: HasScenes, size: tuple[int, int]) -> None:
        self._plant, self._size = plant, size
        self._stages: dict[int, Stage] = {}

    def begin(self) -> None:
        self.close()

    def picture(self, row: int) -> U8:
        if row not in self._stages:
            self._stages[row] = Stage(self._size)
        return self._stages[row].picture(self._plant.scene(row))

    def close(self) -> None:
        for stage in self._stages.values():
            stage.close()
        self._stages.clear()


def has_picture(family: TaskFamily) -> bool:
    """Whether `make_painter` can."""
    plant = getattr(family, "plant", None)
    return hasattr(family, "painter") or isinstance(plant, ArticulatedPlant | HasScenes)


def make_painter(family: TaskFamily, size: tuple[int, int] = SIZE) -> Painter:
    """A painter for a family's robots; before their first episode. ConfigError for a family without a picture."""
    own = getattr(family, "painter", None)
    if own is not None:
        painter: Painter = own(size)
        return painter
    plant: Any = getattr(family, "plant", None)
    if isinstance(plant, ArticulatedPlant):
        return _WorldPainter(plant, size)
    if isinstance(plant, HasScenes):
        return _ScenePainter(plant, size)
    raise ConfigError(
        f"task family {family.name} has no picture: its plant is no ArticulatedPlant and has no `scene(row)`."
    )


def stepwise(family: TaskFamily) -> StepwiseFamily:
    """The family, if its episodes can be run a control period at a time; ConfigError otherwise."""
    if not isinstance(family, StepwiseFamily):
        raise ConfigError(f"task family {family.name} has no `episodes()`, so there is nothing to see step by step.")
    return family


def length_and_rate(family: TaskFamily) -> tuple[int, float]:
    """Control periods of a whole episode, and how many of them are a second. Raises ConfigError."""
    episodes = stepwise(family).episodes()
    return episodes.length, episodes.rate_hz


@dataclass(frozen=True)
class Frame:
    """One picture of a film.

    Attributes:
        tick: control periods run; 0 is the start.
        image: RGB, (height, width, 3).
        returns: of each robot so far.
    """

    tick: int
    image: U8
    returns: tuple[float, ...]


@dataclass(frozen=True)
class Cast:
    """Who plays: parameters (robots, d) of one architecture, and a word on each."""

    policy: PolicySpec
    normaliser: Normaliser
    params: F32
    labels: Sequence[str]


def film(
    family: StepwiseFamily, painter: Painter, cast: Cast, task: Task, seed: int, *, fps: float, title: str
) -> Iterator[Frame]:
    """Run one episode of each robot in `task`, in real time at `fps` pictures a second.

    Args:
        family: with step-wise episodes; all robots in one batch.
        painter: of `family`.
        seed: of the episode.
        title: of the whole picture.

    Yields:
        The start, then pictures until the last robot has ended; the last one stands for the end.
    """
    count = len(cast.params)
    episodes = family.episodes()
    rate_hz = episodes.rate_hz
    policies = PolicyBatch(cast.policy, cast.params, cast.normaliser)
    seen = episodes.begin([task] * count, np.full(count, seed, dtype=np.uint32))
    policies.reset()
    painter.begin()
    pictures: list[U8] = [np.empty(0, np.uint8)] * count
    ended: set[int] = set()

    def frame(tick: int) -> Frame:
        returns = tuple(episodes.total.tolist())
        notes = [
            f"{'ended' if not running else f'{tick / rate_hz:.1f} s'}   return {total:.2f}"
            for running, total in zip(episodes.running.tolist(), returns, strict=True)
        ]
        for row in range(count):
            if row not in ended:  # a robot that has ended stays as it was, whatever its body still does
                pictures[row] = painter.picture(row)
        return Frame(tick, _compose(pictures, cast.labels, notes, title), returns)

    yield frame(0)
    shown = 0
    for tick in range(1, episodes.length + 1):
        alive = episodes.running
        seen = episodes.advance(policies.act(seen, tick - 1))
        for row in np.flatnonzero(alive & ~episodes.running).tolist():
            pictures[row] = painter.picture(row)
            ended.add(row)
        over = tick == episodes.length or not episodes.running.any()
        if over or int(tick * fps / rate_hz) > shown:
            shown = int(tick * fps / rate_hz)
            yield frame(tick)
        if over:
            return


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _compose(pictures: Sequence[U8], labels: Sequence[str], notes: Sequence[str], title: str) -> U8:
    """Pictures side by side below the title; above each, who it is and how it does."""
    height, width, _ = pictures[0].shape
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(13)
    total = len(pictures) * (width + _GAP) - _GAP
    lines = _lines(title, plain, total - 2 * _MARGIN)
    head = _MARGIN + _LINE * len(lines)
    canvas = Image.new("RGB", (total, head + 2 * _LINE + _MARGIN + height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN // 2 + number * _LINE), line, fill=_PALE, font=plain)
    for index, (picture, label, note) in enumerate(zip(pictures, labels, notes, strict=True)):
        left = index * (width + _GAP)
        draw.text((left + _MARGIN, head), label, fill=_INK, font=bold)
        draw.text((left + _MARGIN, head + _LINE + 2), note, fill=_PALE, font=plain)
        canvas.paste(Image.fromarray(picture), (left, head + 2 * _LINE + _MARGIN))
    # encoders of moving pictures want even sides
    return np.asarray(canvas.crop((0, 0, canvas.width // 2 * 2, canvas.height // 2 * 2)), dtype=np.uint8)
