"""The test vectors of an export, replayed: as C on this machine, or compiled into firmware for a board."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from esmaml_robot.errors import ExportError
from esmaml_robot.identity import require_match
from esmaml_robot.robot_spec import RobotSpec

from .build import Firmware, build_firmware
from .c_source import TEMPLATES
from .compiler import compile_c
from .export import MANIFEST_FILE
from .fixed_export import run_fixed_c
from .policy_c import POLICY_FILES
from .proof import Expected
from .reference import TOLERANCE
from .robot_c import write_robot_c
from .verify import run_selftest


@dataclass(frozen=True)
class Exported:
    """An export in a folder: for which robot, the three hashes, and the largest error that a test vector may have.

    fixed: C in fixed point, by the name of its files, with its hash. has_policy: policy.h and policy.c are there.
    """

    folder: Path
    robot: str
    expected: Expected
    tolerance: float = TOLERANCE
    fixed: dict[str, str] = field(default_factory=dict)
    has_policy: bool = True


def load_export(folder: Path) -> Exported:
    """Read export.json. Raises ExportError unless there is C, in float32 or fixed point, and as it describes it."""
    path = folder / MANIFEST_FILE
    advice = "Export again with `esmaml export`."
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        hashes = Expected(values["spec_hash"], values["layout_hash"], values["policy_hash"])
        robot, files = str(values["robot"]), dict(values["files"])
        fixed = {str(one["name"]): str(one["fixed_hash"]) for one in values.get("fixed", ())}
        sums = {name: str(files[name]["sha256"]) for name in files}
    except FileNotFoundError as error:
        raise ExportError(f"{folder} holds no {MANIFEST_FILE}: it is no export. {advice}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} cannot be read or is damaged ({error}). {advice}") from error
    of_policy = [name for name in POLICY_FILES if name in sums]
    if not of_policy and not fixed:
        raise ExportError(f"{folder} was exported without C, so there are no test vectors to replay. {advice}")
    for name in [*(POLICY_FILES if of_policy else ()), *(f"{name}.{end}" for name in fixed for end in "hc")]:
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ExportError(f"{folder / name} cannot be read: {error.strerror}. {advice}") from error
        if found != sums.get(name):
            raise ExportError(f"{folder / name} is not the file that {MANIFEST_FILE} describes. {advice}")
    return Exported(folder, robot, hashes, fixed=fixed, has_policy=bool(of_policy))


def replay_fixed_on_host(export: Exported) -> None:
    """The vectors and constants of every C in fixed point, bit for bit, by this machine's compiler.

    Raises ExportError, SpecMismatch, ToolMissing.
    """
    for name, ours in export.fixed.items():
        _, theirs = run_fixed_c(export.folder, name)
        require_match(
            f"hash of {name}",
            ours,
            theirs,
            our_name=MANIFEST_FILE,
            their_name=str(export.folder / f"{name}.h"),
            advice="Export again.",
        )


def replay_on_host(export: Exported) -> float:
    """Largest error of the vectors in this machine's compiled C. Raises ExportError, SpecMismatch, ToolMissing."""
    header, source = (export.folder / name for name in POLICY_FILES)

    def check(hashes: dict[str, str]) -> None:
        for name, theirs in hashes.items():
            require_match(
                name,
                str(getattr(export.expected, name)),
                theirs,
                our_name=MANIFEST_FILE,
                their_name=str(header),
                advice="Export again.",
            )

    with tempfile.TemporaryDirectory(prefix="esmaml-verify-") as scratch:
        sources = [source, TEMPLATES / "policy_filter.c"]
        program = compile_c(sources, Path(scratch) / "selftest", include=[export.folder], extra=["-Wno-error"])
        return run_selftest(program, source, check)


def firmware_with(export: Exported, spec: RobotSpec, board: str, scratch: Path) -> tuple[Firmware, Expected]:
    """Firmware for a board around an export's policy.c, byte for byte, and what it has to say of itself."""
    require_match(
        "spec_hash",
        export.expected.spec_hash,
        spec.spec_hash,
        our_name=f"the export (made for {export.robot})",
        their_name=f"robot {spec.name}",
        advice="Give the robot file that it was made with, by --robot.",
    )
    for name in POLICY_FILES:
        shutil.copyfile(export.folder / name, scratch / name)
    write_robot_c(spec, scratch)
    firmware = build_firmware(board, spec, scratch, scratch / board)
    hashes = export.expected
    return firmware, Expected(
        hashes.spec_hash, hashes.layout_hash, hashes.policy_hash, board, f"{firmware.firmware_id:08x}"
    )
