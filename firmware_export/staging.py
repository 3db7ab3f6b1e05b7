"""Files that are made beside their place and moved in together when all of them are right."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from esmaml_robot.errors import ExportError
from esmaml_robot.files import sync_folder


def stage_in(folder: Path) -> Path:
    """A temporary folder inside `folder`: on the same file system, so that files can be moved out of it by renaming."""
    try:
        return Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    except OSError as problem:
        raise ExportError(
            f"cannot write in {folder}: {problem.strerror}; choose another folder, change its owner or free some space."
        ) from problem


def publish(stage: Path, folder: Path, names: Sequence[str]) -> None:
    """Move the verified files in, one atomic rename each."""
    for name in names:
        try:
            os.replace(stage / name, folder / name)
        except OSError as problem:
            raise ExportError(
                f"cannot replace {folder / name}: {problem.strerror}; is a folder of that name in the way? "
                f"What is written now may be mixed with older ones in {folder}: do it again."
            ) from problem
    try:
        sync_folder(folder)
    except OSError as problem:
        raise ExportError(f"the disk did not confirm the files in {folder}: {problem.strerror}; check it.") from problem
