"""RobotSpec: the single truth on a robot's sensors, actuators, limits, rates, abort conditions and reward.

Read strictly out of hardware_configs/<robot>.yaml: an unknown key, a missing unit, a number out of bounds or a
physics rate that the control rate does not divide is an error that names the file, the key, what was found and what
is allowed. The simulator checks its body against the spec, the link clamps by it, the firmware is generated from it.
Units are SI and stand in the file beside each number; angles are radians.
"""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import identity
from .errors import ConfigError
from .first_problem import first_problem

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
#: Far beyond any robot, and its sums and quotients still fit float32.
LARGEST = 1e18
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Span = tuple[Finite, Finite]
CountSpan = tuple[Annotated[int, Field(ge=-32768, le=65535)], Annotated[int, Field(ge=-32768, le=65535)]]

FORMAT = 1
MAX_SENSORS = 32
MAX_ACTUATORS = 16


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


def _ordered(span: tuple[float, float], what: str) -> None:
    if not span[0] < span[1]:
        raise ValueError(f"{what} is [{span[0]}, {span[1]}]; the first number must be below the second")


class Signal(_Strict):
    """What a sensor and an actuator have in common: integer counts at the pin, SI units above it."""

    name: Name
    unit: Annotated[str, Field(min_length=1, max_length=16)]
    counts: CountSpan
    scale: Finite
    offset: Finite = 0.0
    range: Span

    @model_validator(mode="after")
    def _check_signal(self) -> Signal:
        _ordered(self.counts, "counts")
        _ordered(self.range, "range")
        if self.counts[1] - self.counts[0] > 65535 or (self.counts[0] < 0 and self.counts[1] > 32767):
            raise ValueError(f"counts {list(self.counts)} do not fit 16 bits, signed or unsigned")
        if not abs(self.scale) > 1e-12:
            raise ValueError(f"scale is {self.scale}; it must not be zero (unit per count)")
        return self


class Sensor(Signal):
    source: Annotated[str, Field(min_length=1, max_length=32)]
    observed: bool


class Actuator(Signal):
    sink: Annotated[str, Field(min_length=1, max_length=32)]
    rate_limit: Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
    hold: Finite | Literal["last"]
    safe: Finite

    @model_validator(mode="after")
    def _check_actuator(self) -> Actuator:
        for key in ("hold", "safe"):
            value = getattr(self, key)
            if value != "last" and not self.range[0] <= value <= self.range[1]:
                raise ValueError(f"{key} is {value}; it must lie in range [{self.range[0]}, {self.range[1]}]")
        for limit in self.range:
            count = (limit - self.offset) / self.scale
            if not self.counts[0] - 0.5 <= count <= self.counts[1] + 0.5:
                raise ValueError(f"range end {limit} is {count:.0f} counts, outside counts {list(self.counts)}")
        return self


class Episode(_Strict):
    steps: Annotated[int, Field(ge=1, le=60000)]
    reset: Literal["operator", "self"]


class Watchdog(_Strict):
    hold_ms: Annotated[int, Field(ge=1, le=60000)]
    release_ms: Annotated[int, Field(ge=1, le=60000)]

    @model_validator(mode="after")
    def _check_watchdog(self) -> Watchdog:
        if not self.hold_ms < self.release_ms:
            raise ValueError(f"release_ms is {self.release_ms}; it must be above hold_ms ({self.hold_ms})")
        return self


class Abort(_Strict):
    """The episode ends as soon as the sensor (SI) leaves `allowed`."""

    name: Name
    sensor: Name
    allowed: Span

    @model_validator(mode="after")
    def _check_abort(self) -> Abort:
        _ordered(self.allowed, "allowed")
        return self


class ConstantTerm(_Strict):
    """weight, each control period (an `alive` bonus or the cost of time)."""

    kind: Literal["constant"]
    weight: Finite


class LinearTerm(_Strict):
    """weight * sensor (SI)."""

    kind: Literal["linear"]
    sensor: Name
    weight: Finite


class SquareTerm(_Strict):
    """weight * (sensor - target)^2 (SI)."""

    kind: Literal["square"]
    sensor: Name
    weight: Finite
    target: Finite = 0.0


class ProgressTerm(_Strict):
    """weight * (sensor now - sensor one control period ago) (SI)."""

    kind: Literal["progress"]
    sensor: Name
    weight: Finite


class ActionSquareTerm(_Strict):
    """weight * (actuator command as sent, SI)^2."""

    kind: Literal["action_square"]
    actuator: Name
    weight: Finite


Term = Annotated[ConstantTerm | LinearTerm | SquareTerm | ProgressTerm | ActionSquareTerm, Field(discriminator="kind")]


class Reward(_Strict):
    terms: Annotated[tuple[Term, ...], Field(min_length=1, max_length=32)]
    after_abort: Finite = 0.0


class RobotSpec(_Strict):
    """A robot as its YAML file describes it. Build one with `load_robot`."""

    format: Literal[1]
    name: Name
    summary: Annotated[str, Field(max_length=200)] = ""
    control_rate_hz: Annotated[int, Field(ge=1, le=10000)]
    physics_rate_hz: Annotated[int, Field(ge=1, le=100000)]
    episode: Episode
    watchdog: Watchdog
    sensors: Annotated[tuple[Sensor, ...], Field(min_length=1, max_length=MAX_SENSORS)]
    actuators: Annotated[tuple[Actuator, ...], Field(min_length=1, max_length=MAX_ACTUATORS)]
    abort: Annotated[tuple[Abort, ...], Field(max_length=32)] = ()
    reward: Reward

    @model_validator(mode="after")
    def _check_whole(self) -> RobotSpec:
        if self.physics_rate_hz % self.control_rate_hz:
            multiple = self.control_rate_hz * max(1, round(self.physics_rate_hz / self.control_rate_hz))
            raise ValueError(
                f"physics_rate_hz is {self.physics_rate_hz}; control_rate_hz ({self.control_rate_hz}) must divide it, "
                f"for example {multiple}"
            )
        names = [s.name for s in (*self.sensors, *self.actuators)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the name {name!r} is used {names.count(name)} times; names must differ")
        if not any(s.observed for s in self.sensors):
            raise ValueError("no sensor is `observed: true`; the policy needs at least one")
        if self.watchdog.hold_ms * self.control_rate_hz < 2000:
            raise ValueError(
                f"watchdog.hold_ms is {self.watchdog.hold_ms}; it must cover two control periods "
                f"({2000 / self.control_rate_hz:.0f} ms)"
            )
        sensors, actuators = {s.name for s in self.sensors}, {a.name for a in self.actuators}
        for where, used, known in (
            *((f"abort {a.name!r}", a.sensor, sensors) for a in self.abort),
            *((f"reward term {t.kind!r}", t.sensor, sensors) for t in self.reward.terms if hasattr(t, "sensor")),
            *((f"reward term {t.kind!r}", t.actuator, actuators) for t in self.reward.terms if hasattr(t, "actuator")),
        ):
            if used not in known:
                raise ValueError(f"{where} names {used!r}; known here: {', '.join(sorted(known))}")
        return self

    @property
    def observed(self) -> tuple[Sensor, ...]:
        """The sensors that the policy sees, in order."""
        return tuple(s for s in self.sensors if s.observed)

    @property
    def control_period_s(self) -> float:
        return 1.0 / self.control_rate_hz

    @property
    def spec_hash(self) -> str:
        """Hash of all that a controller or a policy depends on; summary and physics rate are left out."""
        return identity.digest_json(self.model_dump(mode="json", exclude={"summary", "physics_rate_hz"}))


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str) and key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark
                )
            if isinstance(key, str):
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_robot(text: str, path: str) -> RobotSpec:
    """Parse and check the text of a robot file; `path` is what errors call it. Raises ConfigError."""
    try:
        raw = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that PyYAML finds and cannot build
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{path}:{where} is not valid YAML: {problem}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of keys at the top, found {type(raw).__name__}")
    if raw.get("format") != FORMAT:
        raise ConfigError(f"{path}: format: found {raw.get('format')!r}; this version reads format {FORMAT}")
    try:
        return RobotSpec.model_validate(raw)
    except ValidationError as error:
        key, what = first_problem(error, RobotSpec)
        raise ConfigError(f"{path}: {key or '(whole file)'}: {what}") from error


def _shipped() -> Path:
    """Folder of the robot files that come with the package (in a wheel and in a checkout alike)."""
    return Path(str(resources.files("hardware_configs")))


def known_robots() -> list[str]:
    """Names of the robots that ship with the package."""
    return sorted(p.stem for p in _shipped().glob("*.yaml"))


def load_robot(name_or_path: str | Path) -> RobotSpec:
    """Load a robot by the name of a shipped file ("rover_uno") or by the path of a YAML file. Raises ConfigError."""
    text = str(name_or_path)
    path = Path(text) if text.endswith((".yaml", ".yml")) else _shipped() / f"{text}.yaml"
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        known = known_robots()
        near = difflib.get_close_matches(text, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known robots: {', '.join(known)}; or give a .yaml file."
        raise ConfigError(f"no robot file {text!r}: {hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_robot(content, str(path))
