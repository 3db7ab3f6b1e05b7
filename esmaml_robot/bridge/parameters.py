"""A controller's base parameters over the link: read back, and kept over power off."""

from __future__ import annotations

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


def keep_parameters(link: Link, keep: bool) -> None:
    """Keep the base parameters over power off, or forget those kept. Raises LinkError where the board cannot."""
    link.exchange("params_store", patience=_PATIENCE, keep=int(keep))
