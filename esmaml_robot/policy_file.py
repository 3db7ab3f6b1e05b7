"""A deployable policy as one file: parameters, normaliser, hashes, and where it came from. safetensors, no pickle."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from .errors import CheckpointError, PolicyError
from .files import atomic_write_bytes
from .policy import Normaliser, Policy, PolicySpec

FORMAT = "esmaml-policy-1"


@dataclass(frozen=True)
class StoredPolicy:
    """A policy, the robot it is for (name and spec_hash), and its origin as plain JSON values."""

    policy: Policy
    robot: str
    spec_hash: str
    origin: dict[str, Any]


def _header_checksum(header: dict[str, str]) -> str:
    """CRC-32 of every entry of the header but this one; the policy hash covers the arrays."""
    return str(zlib.crc32(json.dumps(sorted((k, v) for k, v in header.items() if k != "header_crc32")).encode()))


def _in_order(data: bytes) -> bytes:
    """The same file with the keys of its header sorted: safetensors writes them in an order that differs each time."""
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the arrays begin at a multiple of 8
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def save_policy(path: Path, stored: StoredPolicy) -> Path:
    """Write the policy atomically, the same policy as the same bytes. Raises CheckpointError (disk)."""
    policy = stored.policy
    arrays = {
        "theta": policy.theta,
        "normaliser_mean": policy.normaliser.mean,
        "normaliser_inverse_std": policy.normaliser.inverse_std,
    }
    header = {
        "format": FORMAT,
        "policy": policy.spec.model_dump_json(),
        "robot": stored.robot,
        "spec_hash": stored.spec_hash,
        "layout_hash": policy.spec.layout_hash,
        "policy_hash": policy.policy_hash,
        "origin": json.dumps(stored.origin, sort_keys=True),
    }
    header["header_crc32"] = _header_checksum(header)
    return atomic_write_bytes(path, _in_order(to_safetensors(arrays, metadata=header)), error=CheckpointError)


def load_policy(path: Path) -> StoredPolicy:
    """Read a policy file; CheckpointError says what is wrong with a missing, damaged or foreign one."""
    advice = "adapt or train again, or use another file."
    if not path.is_file():
        raise CheckpointError(f"there is no policy file {path}; {advice}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        if header.get("format") != FORMAT:
            raise CheckpointError(f"{path} has format {header.get('format')!r}, not {FORMAT!r}; {advice}")
        spec = PolicySpec.model_validate_json(header["policy"])
        normaliser = Normaliser(arrays["normaliser_mean"], arrays["normaliser_inverse_std"])
        policy = Policy(spec, arrays["theta"], normaliser)
        origin = json.loads(header["origin"])
        stored = StoredPolicy(policy, header["robot"], header["spec_hash"], origin)
    except ValidationError as error:  # its own text has several lines
        raise CheckpointError(f"{path} is damaged or of another version: it names no policy; {advice}") from error
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged or no policy file ({error}); {advice}") from error
    except PolicyError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if policy.policy_hash != header.get("policy_hash"):
        raise CheckpointError(f"{path} is damaged: its policy hash does not match its parameters; {advice}")
    header_sum = _header_checksum(header)
    if header.get("header_crc32") != header_sum:
        raise CheckpointError(f"{path} is damaged: its header does not match its checksum; {advice}")
    return stored
