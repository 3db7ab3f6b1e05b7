"""A controller's base parameters over the link: read, replaced, and kept over power off."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from ..errors import LinkError
from .link import Link
from .messages import CHUNK_FLOATS

F32 = npt.NDArray[np.float32]

#: An EEPROM takes some milliseconds a byte.
_PATIENCE = 8.0


def read_parameters(link: Link, count: int) -> F32:
    """All `count` base parameters, float32 (count,). Raises LinkError."""
    theta = np.zeros(count, dtype=np.float32)
    for offset in range(0, count, CHUNK_FLOATS):
        reply = link.query("params_read", "params_values", offset=offset)
        if reply["offset"] != offset or not reply["used"]:
            raise LinkError(
                f"{link.port}: asked for parameters from {offset} on, got {reply['used']} from {reply['offset']}."
            )
        theta[offset : offset + reply["used"]] = reply["values"][: reply["used"]]
    return theta


def write_parameters(link: Link, theta: F32) -> int:
    """Make finite `theta`, float32 (count,), the controller's base parameters; returns their CRC-32. Raises LinkError.

    The old base stays until everything came and its CRC fits.
    """
    crc = theta_crc32(theta)
    link.exchange("params_begin", count=len(theta), crc32=crc)
    for offset in range(0, len(theta), CHUNK_FLOATS):
        part = [float(v) for v in theta[offset : offset + CHUNK_FLOATS]]
        values = part + [0.0] * (CHUNK_FLOATS - len(part))
        link.exchange("params_chunk", offset=offset, used=len(part), values=values)
    link.exchange("params_end")
    return crc


def theta_crc32(theta: F32) -> int:
    """CRC-32 by which both sides know parameters: of the little-endian float32 bytes."""
    return zlib.crc32(np.ascontiguousarray(theta, dtype="<f4").tobytes())


def keep_parameters(link: Link, keep: bool) -> None:
    """Keep the base parameters over power off, or forget those kept. Raises LinkError where the board cannot."""
    link.exchange("params_store", patience=_PATIENCE, keep=int(keep))
