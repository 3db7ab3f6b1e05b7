"""An image for a board: firmware with a policy in it, its forms for flashers, and a manifest that names each byte.

Built beside its place and moved in when everything is there, the manifest last: a folder that has one holds what it
says. Nothing in it depends on time, place or machine: the same policy, robot, board and tools give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from esmaml_robot import __version__
from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.first_problem import first_problem
from esmaml_robot.policy import Policy
from esmaml_robot.policy_file import StoredPolicy, load_policy, save_policy
from esmaml_robot.policy_frozen import Arithmetic
from esmaml_robot.robot_spec import RobotSpec

from .board_file import Board, find_tool, load_board
from .build import build_firmware, run_compiler
from .fixed_c import constants_crc
from .frozen_policy import FrozenPolicy, write_frozen_c
from .policy_c import write_policy_c
from .robot_c import write_robot_c
from .staging import publish, stage_in

IMAGE_FILE = "firmware.json"
POLICY_FILE = "policy.safetensors"
_FORMS = {"firmware.hex": "ihex", "firmware.bin": "binary"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageFile(_Part):
    """size in bytes; sha256 as 64 hex digits."""

    size: int
    sha256: str


class Memory(_Part):
    """Bytes that an image takes: flash, RAM without the stack, and the stack at its worst, by the chain of functions
    that it belongs to; and how much the board has, where it has a limit.
    """

    flash: int
    flash_there: int | None
    ram: int
    ram_there: int | None
    stack: int | None
    stack_chain: tuple[str, ...]
    stack_unknown: str = ""

    @property
    def ram_free(self) -> int | None:
        """What stays free of the RAM, whatever happens; None where that is not known."""
        if self.ram_there is None or self.stack is None:
            return None
        return self.ram_there - self.ram - self.stack


class Manifest(_Part):
    """firmware.json: what the image is, and what the controller has to say of itself once it runs.

    arithmetic: of the policy. In int16 and int8 it is frozen: `parameters` is 0, and hashes are of the integers.
    parameters_crc32: 8 hex digits, as in STATUS. same_normaliser: hashes of policies whose parameters alone tell them
    from this one, itself among them: to firmware with one of them in it, parameters can be sent in place of an image.
    """

    format: Literal[1] = 1
    producer: str
    board: str
    robot: str
    spec_hash: str
    layout_hash: str
    policy_hash: str
    arithmetic: Arithmetic = "float32"
    parameters: int
    parameters_crc32: str
    firmware_id: str
    same_normaliser: tuple[str, ...]
    memory: Memory
    files: dict[str, ImageFile]


class Image:
    """An image in a folder, and its manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest

    def file(self, name: str) -> Path:
        """One of its files. Raises ExportError where it has no such form."""
        if name not in self.manifest.files:
            raise ExportError(
                f"the image in {self.folder} has no {name}; it has: {', '.join(sorted(self.manifest.files))}. "
                "Build it for a board that is flashed this way."
            )
        return self.folder / name

    def policy(self) -> Policy:
        """The policy in it. Raises CheckpointError."""
        return load_policy(self.folder / POLICY_FILE).policy


def _described(path: Path) -> ImageFile:
    data = path.read_bytes()
    return ImageFile(size=len(data), sha256=hashlib.sha256(data).hexdigest())


def _forms(board: Board, image: Path, folder: Path) -> list[Path]:
    """The image as flashers want it, beside the linked file."""
    settings = board.settings.compile
    if not settings.objcopy:
        return [image]
    objcopy = find_tool(settings.objcopy, settings.package, board.name)
    made = [image]
    for name, form in _FORMS.items():
        # an .eeprom section has addresses of its own, far beyond flash
        command = [objcopy, "-O", form, "-R", ".eeprom", str(image), str(folder / name)]
        run_compiler(command, f"{name}")
        made.append(folder / name)
    return made


def build_image(
    policy: Policy,
    spec: RobotSpec,
    board_name: str,
    folder: Path,
    base: Policy | None = None,
    frozen: FrozenPolicy | None = None,
) -> Image:
    """Compile the firmware with a policy in it for a board, and write it with its forms and manifest into `folder`.

    Args:
        policy: what is compiled in.
        spec: its robot.
        board_name: of the board.
        folder: where to; created if missing.
        base: the policy that this one was adapted from. Where only parameters differ, firmware with either of them
            takes the parameters of the other over the link.
        frozen: the policy in integers, which then goes in in its place.

    Raises:
        PolicyError, SpecMismatch, ToolMissing, ExportError: as `write_policy_c` and `build_firmware`. The folder is
            then as it was.
    """
    board = load_board(board_name)
    folder = make_folder(Path(folder), error=ExportError)
    temporary = stage_in(folder)
    try:
        generated = temporary / "generated"
        if frozen is None:
            write_policy_c(policy, spec, generated)
        else:
            write_frozen_c(frozen, generated)
        write_robot_c(spec, generated)
        chip = board.settings.memory is not None
        firmware = build_firmware(board_name, spec, generated, temporary / "out", stack=chip, frozen=frozen is not None)
        files = _forms(board, firmware.image, temporary / "out")
        stored = StoredPolicy(policy, spec.name, spec.spec_hash, {"board": board_name})
        files.append(save_policy(temporary / "out" / POLICY_FILE, stored))
        known = [p for p in (policy, base) if p is not None and _same_normaliser(p, policy) and frozen is None]
        identity = frozen or policy
        layout = policy.spec if frozen is None else frozen.layout
        crc = zlib.crc32(policy.theta.astype("<f4").tobytes()) if frozen is None else constants_crc(frozen.plan)
        memory, stack = board.settings.memory, firmware.stack
        manifest = Manifest(
            producer=f"esmaml-robot {__version__}",
            board=board_name,
            robot=spec.name,
            spec_hash=spec.spec_hash,
            layout_hash=layout.layout_hash,
            policy_hash=identity.policy_hash,
            arithmetic="float32" if frozen is None else frozen.layout.arithmetic,
            parameters=layout.dimension,
            parameters_crc32=f"{crc:08x}",
            firmware_id=f"{firmware.firmware_id:08x}",
            same_normaliser=tuple(dict.fromkeys(p.policy_hash for p in known)),
            memory=Memory(
                flash=firmware.flash_bytes,
                flash_there=memory.flash_bytes if memory else None,
                ram=firmware.ram_bytes,
                ram_there=memory.ram_bytes if memory else None,
                stack=stack.bytes if stack else None,
                stack_chain=stack.chain if stack else (),
                stack_unknown=stack.why if stack else "it is a program of this machine",
            ),
            files={path.name: _described(path) for path in files},
        )
        publish(temporary / "out", folder, sorted(manifest.files))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    atomic_write_text(folder / IMAGE_FILE, text, error=ExportError)
    return Image(folder, manifest)


def _same_normaliser(one: Policy, other: Policy) -> bool:
    return one.spec.layout_hash == other.spec.layout_hash and (
        one.normaliser.mean.tobytes() == other.normaliser.mean.tobytes()
        and one.normaliser.inverse_std.tobytes() == other.normaliser.inverse_std.tobytes()
    )


def load_image(path: Path) -> Image:
    """An image out of its folder, or out of one of its files. Raises ExportError unless every file is what it was."""
    folder = path if path.is_dir() else path.parent
    advice = "Build it with `esmaml build`."
    if not path.exists():
        raise ExportError(f"there is no image {path}. {advice}")
    try:
        text = (folder / IMAGE_FILE).read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except FileNotFoundError as error:
        raise ExportError(
            f"{folder} holds no {IMAGE_FILE}, so nobody could say whether it is what runs afterwards. {advice}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{folder / IMAGE_FILE} cannot be read: {error}. {advice}") from error
    except ValidationError as error:
        problem = first_problem(error, Manifest)
        raise ExportError(f"{folder / IMAGE_FILE} is damaged or of another version: {problem}. {advice}") from error
    if path != folder and path.name not in manifest.files:
        raise ExportError(f"{path} is not one of the files that {folder / IMAGE_FILE} names. {advice}")
    for name, expected in manifest.files.items():
        try:
            found = _described(folder / name)
        except OSError as error:
            raise ExportError(f"{folder / name} cannot be read: {error.strerror}. {advice}") from error
        if found != expected:
            raise ExportError(
                f"{folder / name} is not the file that {IMAGE_FILE} describes: SHA-256 is {found.sha256[:16]}..., "
                f"{expected.sha256[:16]}... was expected. Something has changed it; {advice[0].lower()}{advice[1:]}"
            )
    return Image(folder, manifest)
