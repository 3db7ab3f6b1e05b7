"""Hashes by which a robot, a policy layout and a policy are known: the same 16 hex digits in every artefact.

A hash is the first 8 bytes of SHA-256, written as 16 lower-case hex digits. It stands in the checkpoint, the ONNX
metadata, the C header and the controller's HELLO; where two disagree, nothing runs.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .errors import SpecMismatch

HASH_BYTES = 8


def digest(data: bytes) -> str:
    """First 8 bytes of SHA-256 of `data`, as 16 hex digits."""
    return hashlib.sha256(data).hexdigest()[: 2 * HASH_BYTES]


def digest_json(value: Any) -> str:
    """Hash of a JSON-serialisable value, independent of key order and white space."""
    return digest(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def require_match(what: str, ours: str, theirs: str, *, our_name: str, their_name: str, advice: str) -> None:
    """Raise SpecMismatch, naming both sides and both values, unless the two hashes are equal."""
    if ours != theirs:
        raise SpecMismatch(f"{what} differs: {our_name} has {ours}, {their_name} has {theirs}. {advice}")
