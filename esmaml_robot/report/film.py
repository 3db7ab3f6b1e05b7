"""Moving pictures as files: GIF by Pillow, MP4 by the ffmpeg that the package imageio-ffmpeg brings."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import ConfigError, EsmamlError, ToolMissing
from ..files import atomic_write_bytes

U8 = npt.NDArray[np.uint8]

FORMATS = (".gif", ".mp4")
#: How long the last picture stands, s.
LAST_SECONDS = 1.5
#: Quality of MP4, 0 to 10 in imageio-ffmpeg's scale.
_QUALITY = 7


def check_film_path(path: Path) -> None:
    """Raise ConfigError unless a film can be written to `path`, ToolMissing where a package is not installed."""
    if path.suffix not in FORMATS:
        raise ConfigError(f"{path}: a film is a .gif or an .mp4 file; name one of these.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.absolute().parent} does not exist; create it first.")
    if path.suffix == ".mp4":
        _ffmpeg()


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ToolMissing(
            "MP4 needs the package imageio-ffmpeg: pip install 'esmaml-robot[video]'; or write a .gif."
        ) from error
    return imageio_ffmpeg


def gif_rate(fps: float) -> float:
    """The rate nearest to `fps` that GIF can show: its clock counts hundredths of a second, two of them at least."""
    return 100.0 / max(2, round(100.0 / fps))


def write_film(path: Path, pictures: Iterable[U8], fps: float) -> int:
    """Write pictures (height, width, 3), all of one size with even sides, at `fps` a second; returns the file's bytes.

    The file is whole or not there. Raises ConfigError (its name), ToolMissing (MP4) or EsmamlError (disk).
    """
    check_film_path(path)
    data = _gif(iter(pictures), fps) if path.suffix == ".gif" else _mp4(iter(pictures), fps)
    atomic_write_bytes(path, data, error=EsmamlError)
    return len(data)


def _gif(pictures: Iterator[U8], fps: float) -> bytes:
    first = Image.fromarray(next(pictures)).quantize(256, dither=Image.Dither.NONE)
    # one palette for all pictures: with their own, colours flicker
    rest = [Image.fromarray(p).quantize(palette=first, dither=Image.Dither.NONE) for p in pictures]
    hundredths = round(100.0 / gif_rate(fps))
    durations = [10 * hundredths] * len(rest) + [round(1000 * LAST_SECONDS)]
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def _mp4(pictures: Iterator[U8], fps: float) -> bytes:
    first = next(pictures)
    height, width, _ = first.shape
    with tempfile.TemporaryDirectory(prefix="esmaml_") as folder:
        file = Path(folder) / "film.mp4"
        writer = _ffmpeg().write_frames(
            str(file), (width, height), fps=fps, codec="libx264", quality=_QUALITY, macro_block_size=2
        )
        writer.send(None)
        last = first
        writer.send(np.ascontiguousarray(first))
        for picture in pictures:
            last = picture
            writer.send(np.ascontiguousarray(picture))
        for _ in range(round(LAST_SECONDS * fps)):
            writer.send(np.ascontiguousarray(last))
        writer.close()
        return file.read_bytes()
