"""Folders of files that are exported together: staged beside their place, checked there, and only then moved in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder, sync_folder

MANIFEST_FILE = "export.json"
_FORMAT = 1


def sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`: on the same file system, so that all can be moved by renaming."""
    make_folder(folder.parent, error=ExportError)
    try:
        stage = Path(tempfile.mkdtemp(prefix=".esmaml-", dir=folder.parent))
        stage.chmod(0o777 & ~_umask())
    except OSError as problem:
        raise ExportError(
            f"cannot write in {folder.parent}: {problem.strerror}; choose another folder, change its owner or free "
            "some space."
        ) from problem
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _manifest_of(folder: Path) -> dict[str, Any]:
    """What stands in the folder's manifest; nothing for a folder that is new or empty.

    Raises ExportError for a folder with other things in it.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if manifest["format"] != _FORMAT or not isinstance(manifest["files"], dict) or "layout" not in manifest:
            raise KeyError("format")
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ExportError(
            f"{folder} is not empty and not an export of this kind; choose a folder that is new or empty, or one that "
            "was exported in this way."
        ) from problem
    return manifest


def _changed_by_hand(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Files that are there and are not what was exported."""
    changed = []
    for name, entry in manifest.get("files", {}).items():
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != entry["sha256"]:
            changed.append(name)
    return sorted(changed)


def _move_in(stage: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(stage / name, folder / name)
    for parent in sorted({(folder / name).parent for name in names}):
        sync_folder(parent)


def publish(folder: Path, texts: Mapping[str, str], facts: Mapping[str, Any], *, fixed: str) -> list[str]:
    """Write `texts` (by relative path) and a manifest into `folder`, all or, in a folder that is new, nothing.

    Files that the user has changed since an earlier export are kept.

    Args:
        folder: new, empty, or exported before.
        texts: the files.
        facts: what the manifest says besides the files: at least robot, spec_hash and layout, which says the kind.
        fixed: part of the path of files that are generated and must not be changed by hand.

    Returns:
        Names of the files that were kept.

    Raises:
        ExportError: the folder holds something else, or the changed files are for another robot or among those that
            must not be changed; or the disk refuses. Then nothing has changed, but in the last case of an existing
            folder, where files of two exports may be mixed: the message says so.
    """
    old = _manifest_of(folder)
    changed = _changed_by_hand(folder, old)
    for name in changed:
        if fixed in name:
            raise ExportError(
                f"{folder / name} was changed by hand, and would be lost; move the change elsewhere, or export into "
                "another folder."
            )
    if changed and any(old[key] != facts[key] for key in ("spec_hash", "layout")):
        raise ExportError(
            f"{folder / changed[0]} was changed by hand, for robot {old['robot']} with spec_hash {old['spec_hash']}; "
            f"this is {facts['robot']} with {facts['spec_hash']}. Export into another folder."
        )
    files = {name: {"size": len(text.encode()), "sha256": sha256_of(text)} for name, text in sorted(texts.items())}
    manifest = json.dumps({"format": _FORMAT, **facts, "files": files}, indent=2, allow_nan=False) + "\n"
    with _stage(folder) as stage:
        for name, text in {**texts, MANIFEST_FILE: manifest}.items():
            make_folder((stage / name).parent, error=ExportError)
            atomic_write_text(stage / name, text, error=ExportError)
        try:
            if not old:
                os.replace(stage, folder)  # a folder that is empty may be replaced by another
                sync_folder(folder.parent)
                return []
            _move_in(stage, folder, [*(name for name in texts if name not in changed), MANIFEST_FILE])
            for name in set(old["files"]) - set(texts) - set(changed):
                (folder / name).unlink(missing_ok=True)
        except OSError as problem:
            mixed = f" Files of two exports may be mixed in {folder}: export again." if old else ""
            raise ExportError(f"cannot write {folder}: {problem.strerror}; free some space.{mixed}") from problem
    return changed
