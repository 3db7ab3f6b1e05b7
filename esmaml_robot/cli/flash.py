"""`esmaml flash`: an image onto a board, and proof that what runs there afterwards is what was built."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ..bridge.link import Link
from ..bridge.transport import DEFAULT_BAUD, open_port
from ..errors import ConfigError
from .common import err, guarded, own_package, print_json


@contextlib.contextmanager
def quiet_link(port: str, baud: int, quiet_s: float) -> Iterator[Link]:
    """A link that says nothing for `quiet_s` seconds after its port was opened: a boot loader may be listening."""
    transport = open_port(port, baud)
    with contextlib.closing(transport):
        time.sleep(quiet_s)
        yield Link(transport, None, None)


def _package(module: str) -> Any:
    own_package("firmware_export")
    return importlib.import_module(f"firmware_export.{module}")


@guarded
def flash(
    image: Annotated[Path, typer.Argument(help="Folder of `esmaml build`, or a file in it.")],
    port: Annotated[str, typer.Option(help="Serial port of the board.")],
    board: Annotated[str | None, typer.Option(help="Board that it must be for; default: the image's.")] = None,
    gdb: Annotated[str | None, typer.Option(help="host:port of a debugger, for boards that are loaded by one.")] = None,
    baud: Annotated[int, typer.Option(help="Baud rate of the firmware.", min=9600, max=4_000_000)] = DEFAULT_BAUD,
    parameters_only: Annotated[
        bool, typer.Option("--parameters-only", help="Send and keep the parameters; the firmware stays.")
    ] = False,
    forget_kept: Annotated[
        bool, typer.Option("--forget-kept", help="Drop parameters that the board has kept from before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Upload an image, then let the board say who it is and test itself: exit code 0 means that it runs the image.

    The actuators stay released. Whatever goes wrong, the same command again is safe.

    Example: esmaml flash runs/first/firmware/atmega328p --port /dev/ttyACM0
    """
    loaded = _package("image").load_image(image)
    manifest = loaded.manifest
    if board is not None and board != manifest.board:
        raise ConfigError(
            f"--board {board}: the image in {loaded.folder} is for board {manifest.board}; build for {board}."
        )
    target, upload, proofs = _package("board_file").load_board(manifest.board), _package("upload"), _package("proof")
    quiet_s = upload.flasher_of(target).quiet_s
    if parameters_only:
        with quiet_link(port, baud, quiet_s) as link, err.status(f"sending {manifest.parameters} parameters"):
            crc = proofs.send_parameters(link, loaded)
        if as_json:
            print_json({"image": str(loaded.folder), "port": port, "parameters_crc32": crc, "kept": True})
        else:
            err.print(f"{manifest.parameters} parameters in force and kept over power off, CRC-32 {crc}")
        return
    open_port(port, baud).close()  # missing, busy or forbidden: said before anything is written
    with err.status(f"uploading {manifest.memory.flash:,} bytes to {manifest.board} at {gdb or port}"):
        upload.upload(loaded, target, port, gdb)
    with quiet_link(port, baud, quiet_s) as link, err.status("asking the board what it runs"):
        proof = proofs.prove(link, proofs.expected_of(manifest))
        proof = proofs.require_built_in(link, proof, loaded, forget_kept)
    if as_json:
        print_json({"image": str(loaded.folder), "port": port, **proof.to_json()})
        return
    err.print(
        f"{manifest.board} at {port} runs the image: robot {manifest.robot}, policy {proof.policy_hash}, firmware "
        f"{proof.firmware_id}; self test passed, largest error {proof.selftest_error:.3g}",
        highlight=False,
        soft_wrap=True,
    )
