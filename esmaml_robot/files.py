"""Files that are either whole or not there: write under a temporary name, fsync, rename, fsync the folder.

A reader never sees half a checkpoint or half a C file, and a full disk or a power cut leaves the old file as it was.
The errors say which file, why, and what to do next; a caller names the class that fits its command.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import EsmamlError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def _reason(problem: OSError, folder: Path, wanted: int) -> str:
    """Cause and advice of a failed write as one clause each."""
    if problem.errno in _FULL:
        free = ""
        with suppress(OSError):
            free = f" ({wanted} bytes wanted, {shutil.disk_usage(folder).free} free)"
        return f"no space left, or a quota or size limit is reached{free}; free some space and run the command again"
    if problem.errno in _FORBIDDEN:
        return f"no permission to write in {folder}; choose another folder or change its owner"
    if problem.errno == errno.ENOTDIR:
        return f"{folder} is a file, not a folder; choose another folder"
    if problem.errno == errno.EISDIR:
        return "a folder of that name is in the way; move it or choose another name"
    return f"{problem.strerror or problem}; check the disk and the path, then run the command again"


def make_folder(folder: Path, *, error: type[EsmamlError] = EsmamlError) -> Path:
    """Create `folder` and its parents unless they exist. Raises `error`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as problem:
        raise error(f"cannot create the folder {folder}: a file of that name is in the way; move it.") from problem
    except OSError as problem:
        raise error(f"cannot create the folder {folder}: {_reason(problem, folder.parent, 0)}.") from problem
    return folder


@contextmanager
def only_writer(folder: Path, *, error: type[EsmamlError] = EsmamlError) -> Iterator[None]:
    """Keep other programs that ask for the same out of `folder` (created if missing) while the block lasts.

    The lock ends with the process that holds it, however that ends. Raises `error` where another one has it.
    """
    handle = os.open(make_folder(folder, error=error), os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise error(
                f"another program is at work in {folder}; wait for it or stop it, or choose another folder."
            ) from problem
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as problem:
        # some network and FUSE file systems cannot sync a folder; the file itself is already safe there
        if problem.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def atomic_write_bytes(path: Path, data: bytes, *, error: type[EsmamlError] = EsmamlError) -> Path:
    """Replace `path` by `data`, whole or not at all. The folder must exist.

    Args:
        path: the file to write or replace.
        data: its new content.
        error: class of the error that is raised, e.g. CheckpointError.

    Returns:
        `path`.

    Raises:
        error: the disk is full, there is no permission, or the path is not usable; the old file is unchanged and no
            temporary file is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                _write_all(handle, data)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except FileNotFoundError as problem:
        raise error(f"cannot write {path}: the folder {path.parent} does not exist; create it first.") from problem
    except OSError as problem:
        # os.path.exists: Path.exists raises where the folder may not be searched
        state = "The old file is unchanged" if os.path.exists(path) else "Nothing was written"
        raise error(f"cannot write {path}: {_reason(problem, path.parent, len(data))}. {state}.") from problem
    try:
        sync_folder(path.parent)
    except OSError as problem:
        raise error(
            f"{path} is written, but not confirmed by the disk: {problem.strerror}; check the disk."
        ) from problem
    return path


def atomic_write_text(path: Path, text: str, *, error: type[EsmamlError] = EsmamlError) -> Path:
    """`atomic_write_bytes` of `text` as UTF-8 with the line ends that it has."""
    return atomic_write_bytes(path, text.encode("utf-8"), error=error)


def free_name(path: Path) -> Path:
    """`path`, or the first of NAME.1.SUFFIX, NAME.2.SUFFIX and so on that is not there yet."""
    number, candidate = 0, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}.{number}{path.suffix}")
    return candidate
