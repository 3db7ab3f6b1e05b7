"""Task families by name."""

from __future__ import annotations

import difflib

from esmaml_robot.errors import ConfigError

from .beacon import FourCorners, Nav2d

Family = FourCorners | Nav2d

FAMILIES: dict[str, type[FourCorners] | type[Nav2d]] = {f.name: f for f in (FourCorners, Nav2d)}


def make_family(name: str) -> Family:
    """The task family called `name`; ConfigError with the known names otherwise."""
    if name not in FAMILIES:
        near = difflib.get_close_matches(name, FAMILIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FAMILIES)}."
        raise ConfigError(f"no task family {name!r}: {hint}")
    return FAMILIES[name]()
