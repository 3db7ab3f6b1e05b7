"""Why a serial port cannot be opened, and what to do about it."""

from __future__ import annotations

import errno
import grp
import os
from contextlib import suppress
from pathlib import Path

from ..errors import PortError

BY_ID = Path("/dev/serial/by-id")
_PROC = Path("/proc")


def stable_names() -> list[str]:
    """Ports by what is plugged in rather than by the order in which it was."""
    return sorted(str(p) for p in BY_ID.glob("*"))


def holders(port: str) -> list[str]:
    """Programs that have a port open, as "name (pid 123)"; those of other users cannot be seen."""
    target = os.path.realpath(port)
    found = []
    for process in _PROC.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if any(os.readlink(fd) == target for fd in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (pid {process.name})")
    return sorted(found)


def _group_of(port: str) -> str:
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"


def _member_already(group: str) -> bool:
    """Whether this user is in the group, though perhaps not since this login."""
    with suppress(KeyError, OSError):
        return os.environ.get("USER", "") in grp.getgrnam(group).gr_mem
    return False


def refuse_scheme(name: str, known: tuple[str, ...]) -> PortError:
    if name.startswith("sim://"):
        return PortError(
            f"{name}: a virtual robot gets its policy from a run, which this command does not take. `esmaml emulate` "
            "starts a board at a port that any command can open."
        )
    urls = ", ".join(f"{scheme}://" for scheme in known)
    return PortError(
        f"{name}: cannot be opened: URLs that work here are {urls} and sim://. Or give the path of a port."
    )


def refuse_address(name: str, scheme: str) -> PortError:
    return PortError(f"{name}: {scheme}:// needs a host and a port number, as in {scheme}://192.168.1.5:2217.")


def refuse_baud(name: str, asked: int, got: int | None = None) -> PortError:
    """`got`: what the driver set in its place, if it said so."""
    instead = f" (it set {got} in its place)" if got is not None else ""
    return PortError(
        f"{name}: the driver of this port does not do {asked} baud{instead}. Choose another with --baud, 115200 being "
        "one that all have, and build the firmware for the same."
    )


def explain(name: str, baud: int, error: Exception, ports: list[str]) -> PortError:
    """The error of pyserial or the system as one that says what to do; `ports` are those that exist."""
    code = getattr(error, "errno", None)
    text = str(error)
    if "baud" in text.lower():
        return refuse_baud(name, baud)
    if code == errno.ENOENT:
        known = f"ports that exist: {', '.join(ports)}" if ports else "no serial port exists here; plug the board in"
        return PortError(f"{name or 'no name'}: there is no such port; {known}.")
    if code == errno.EBUSY or "exclusively lock" in text:
        who = ", ".join(holders(name))
        named = f": {who}" if who else f"; `sudo fuser -v {name}` shows which"
        return PortError(
            f"{name}: another program holds this port{named}. Close it (a serial monitor, another esmaml) first."
        )
    if code in (errno.EACCES, errno.EPERM):
        group = _group_of(name)
        advice = (
            f"you are in it, but not since this login: log in anew, or `newgrp {group}`"
            if _member_already(group)
            else f"sudo usermod -aG {group} $USER, then log in anew"
        )
        return PortError(f"{name}: no permission. The port belongs to group {group!r}: {advice}.")
    if code in (errno.ENXIO, errno.ENODEV, errno.EIO):
        return PortError(f"{name}: the device behind this port is gone. Plug it in (again), and look at the cable.")
    if code == errno.ENOTTY or "Inappropriate ioctl" in text:
        return PortError(f"{name}: this is no serial port. Give the path of one: {', '.join(ports) or 'none is here'}.")
    if code == errno.EISDIR:
        return PortError(f"{name}: this is a folder. Give the path of a port: {', '.join(ports) or 'none is here'}.")
    if "://" in name:
        return PortError(f"{name}: cannot be opened: {text}. Is the other end listening there?")
    return PortError(f"{name}: cannot be opened: {text}. Give the path of a serial port or a pyserial URL.")
