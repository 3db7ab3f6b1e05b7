"""robot_model.h and robot_model.c: the C twin of esmaml_robot/signals.py, generated from a RobotSpec.

Every constant is taken from `Signals` as the float32 or int32 that numpy uses, so there is one place where a scale is
turned into a gain, and none where two roundings could differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.errors import ExportError
from esmaml_robot.files import atomic_write_text, make_folder
from esmaml_robot.robot_spec import ActionSquareTerm, ConstantTerm, RobotSpec, SquareTerm
from esmaml_robot.signals import Signals

from .c_source import float_literal, float_literals, int_literals, render

ROBOT_FILES = ("robot_model.h", "robot_model.c")

# robot_limit adds counts (16 bits, signed or unsigned) and slew in int32; beyond this the sum could overflow
_MAX_SLEW = 2**30


def signals_of(spec: RobotSpec) -> Signals:
    """`Signals(spec)`, or ExportError where a number of the spec has no float32 or int32."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are found and named where they are written
            signals = Signals(spec)
    except OverflowError as problem:
        raise ExportError(
            f"robot {spec.name!r}: a limit does not fit 32-bit counts ({problem}); lower the rate_limit."
        ) from problem
    for i, actuator in enumerate(spec.actuators):
        if signals.slew[i, 0] > _MAX_SLEW:
            raise ExportError(
                f"robot {spec.name!r}: rate_limit of {actuator.name!r} is {actuator.rate_limit}, which is "
                f"{signals.slew[i, 0]} counts a control period; lower it (65535 counts already mean no limit)."
            )
        if not signals.action_half[i, 0] > 0:
            raise ExportError(f"robot {spec.name!r}: range of {actuator.name!r} is too narrow for float32; widen it.")
    return signals


def _term(spec: RobotSpec, signals: Signals, index: int) -> dict[str, Any]:
    """What the template needs of one reward term: kind, weight and the place of its sensor or actuator."""
    term = spec.reward.terms[index]
    what = f"robot {spec.name!r}: reward term {index + 1} ({term.kind})"
    out: dict[str, Any] = {"kind": term.kind, "weight": _cast(term.weight, f"{what}: weight")}
    if isinstance(term, ConstantTerm):
        return out
    if isinstance(term, ActionSquareTerm):
        at = [a.name for a in spec.actuators].index(term.actuator)
        scale, offset = signals.actuator_scale[at, 0], signals.actuator_offset[at, 0]
        out["scale"] = float_literal(scale, f"{what}: scale")
        out["offset"] = float_literal(offset, f"{what}: offset")
        return out | {"name": term.actuator, "index": at}
    if isinstance(term, SquareTerm):
        out["target"] = _cast(term.target, f"{what}: target")
    return out | {"name": term.sensor, "index": [s.name for s in spec.sensors].index(term.sensor)}


def _cast(value: float, what: str) -> str:
    """A number of the spec as the float32 constant that Signals uses in its place."""
    with np.errstate(over="ignore"):
        return float_literal(np.float32(value), what)


def render_robot_c(spec: RobotSpec) -> dict[str, str]:
    """The two files by name, as text. Raises ExportError where a number of the spec does not fit its C type."""
    signals = signals_of(spec)
    where = f"robot {spec.name!r}: "
    sensors = [s.name for s in spec.sensors]
    context: dict[str, Any] = {
        "spec": spec,
        "period_us": round(1e6 / spec.control_rate_hz),
        "uses_last": bool(signals.hold_last.any()),
        "observed": [str(i) for i, s in enumerate(spec.sensors) if s.observed],
        "after_abort": _cast(spec.reward.after_abort, f"{where}reward.after_abort"),
        "terms": [_term(spec, signals, i) for i in range(len(spec.reward.terms))],
        "aborts": [
            {
                "name": a.name,
                "index": sensors.index(a.sensor),
                "low": _cast(a.allowed[0], f"{where}abort {a.name!r}"),
                "high": _cast(a.allowed[1], f"{where}abort {a.name!r}"),
            }
            for a in spec.abort
        ],
    }
    for name in ("safe", "hold", "slew", "actuator_low", "actuator_high"):
        context[name] = int_literals(getattr(signals, name), where + name)
    for name in (
        "sensor_scale", "sensor_offset", "observation_centre", "observation_gain",
        "action_half", "action_centre", "actuator_offset", "actuator_inverse_scale",
    ):  # fmt: skip
        context[name] = float_literals(getattr(signals, name), where + name)
    return {name: render(f"{name}.j2", **context) for name in ROBOT_FILES}


def write_robot_c(spec: RobotSpec, folder: Path) -> list[Path]:
    """Write robot_model.h and robot_model.c into `folder` (created if missing); each file is whole or unchanged.

    Returns:
        The two paths, header first.

    Raises:
        ExportError: a number of the spec does not fit its C type, or the files cannot be written.
    """
    texts = render_robot_c(spec)  # everything that can be refused is refused before the first file is touched
    folder = make_folder(Path(folder), error=ExportError)
    return [atomic_write_text(folder / name, text, error=ExportError) for name, text in texts.items()]
