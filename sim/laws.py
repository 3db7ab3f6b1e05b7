"""Laws of randomisation: how a task's hidden parameters are drawn, one declared law a parameter.

A family declares its laws once; sampling, `esmaml tasks`, and the documentation read them. Each law but `Cycle` takes
one uniform number, in the order of declaration, from a counter-based stream that depends on the split and the task's
number, so the splits share no task. The split `outside` draws from the law's outside span where one is declared:
bodies beyond what training ever showed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from esmaml_robot import directions
from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Split, Task

#: Each split's own stream of random numbers.
SPLIT_STREAM: dict[Split, int] = {"train": 1, "validation": 2, "test": 3, "outside": 4}


def _check_values(law: str, values: Sequence[float], what: str, least: int = 1) -> None:
    """Raise ConfigError unless `values` are at least so many finite numbers."""
    if not isinstance(values, tuple | list) or len(values) < least:
        raise ConfigError(f"law {law!r}: {what} is {values!r}; give {least} or more numbers: (1.0, 2.0).")
    for value in values:
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ConfigError(f"law {law!r}: {what} has {value!r}; a finite number is needed.")


def _check_span(law: str, span: Sequence[float], what: str) -> None:
    """Raise ConfigError unless `span` is two finite numbers, the first not above the second."""
    _check_values(law, span, what, least=2)
    if len(span) != 2 or span[0] > span[1]:
        raise ConfigError(f"law {law!r}: {what} is {tuple(span)}; give two numbers, the lower one first.")


@dataclass(frozen=True)
class Uniform:
    """name =U(low, high); in the split `outside`, =U(*outside). Raises ConfigError where a span is none."""

    name: str
    low: float
    high: float
    unit: str
    meaning: str
    outside: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check_span(self.name, (self.low, self.high), "its range")
        if self.outside is not None:
            _check_span(self.name, self.outside, "`outside`")

    def draw(self, u: float, outside: bool) -> float:
        low, high = self.outside if outside and self.outside is not None else (self.low, self.high)
        return low + u * (high - low)

    def describe(self) -> str:
        return f"U({self.low:g}, {self.high:g})"

    def describe_outside(self) -> str:
        return "" if self.outside is None else f"U({self.outside[0]:g}, {self.outside[1]:g})"


@dataclass(frozen=True)
class Choice:
    """name = one of `values`, each equally likely; in the split `outside`, one of `outside`.

    Raises ConfigError where either is empty or not finite.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    meaning: str
    outside: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_values(self.name, self.values, "the list of its values")
        if self.outside is not None:
            _check_values(self.name, self.outside, "`outside`")

    def draw(self, u: float, outside: bool) -> float:
        values = self.outside if outside and self.outside is not None else self.values
        return values[min(int(u * len(values)), len(values) - 1)]

    def describe(self) -> str:
        return "one of " + ", ".join(f"{v:g}" for v in self.values)

    def describe_outside(self) -> str:
        return "" if self.outside is None else "one of " + ", ".join(f"{v:g}" for v in self.outside)


@dataclass(frozen=True)
class Cycle:
    """name = values[task number modulo their count]: every value equally often, for a handful of discrete tasks.

    Raises ConfigError where there is none, or one is not finite.
    """

    name: str
    values: tuple[float, ...]
    unit: str
    meaning: str

    def __post_init__(self) -> None:
        _check_values(self.name, self.values, "the list of its values")

    def at(self, index: int) -> float:
        return self.values[index % len(self.values)]

    def describe(self) -> str:
        return "in turn " + ", ".join(f"{v:g}" for v in self.values)

    def describe_outside(self) -> str:
        return ""


Law = Uniform | Choice | Cycle


def draw_parameters(laws: Sequence[Law], split: Split, index: int) -> dict[str, float]:
    """The hidden parameters of task number `index` of a split."""
    random = [law for law in laws if not isinstance(law, Cycle)]
    uniforms = iter(directions.uniforms(directions.fold(index, SPLIT_STREAM[split]), len(random)).tolist())
    outside = split == "outside"
    return {
        law.name: float(law.at(index) if isinstance(law, Cycle) else law.draw(next(uniforms), outside)) for law in laws
    }


def own_task(task: Task, text: str) -> Task:
    """`task` with the hidden parameters that a JSON object names, whatever their laws say, in place of those drawn.

    Raises:
        ConfigError: it is no object of finite numbers, or names what the family does not have.
    """
    try:
        given = {k: float(v) for k, v in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError(f"task {text!r} is not a JSON object of numbers: {error}") from error
    strange = sorted(k for k, v in given.items() if not math.isfinite(v))
    if strange:
        raise ConfigError(f"task key {strange[0]!r} is {given[strange[0]]}; a finite number is needed.")
    unknown = sorted(set(given) - set(task.parameters))
    if unknown:
        raise ConfigError(f"task key {unknown[0]!r} is unknown; known: {', '.join(sorted(task.parameters))}.")
    return Task(task.family, {**task.parameters, **given})
