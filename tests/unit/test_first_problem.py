"""What pydantic refuses, in one line: the key as it was written, what is wrong with it, and which keys there are."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from esmaml_robot.first_problem import LONGEST_FOUND, first_problem


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(Strict):
    kind: Literal["step"]
    size: float = 0.1


class Rest(Strict):
    kind: Literal["rest"]
    seconds: int = 1


class Group(Strict):
    sigma: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    pairs: int = 4
    name: Literal["adam", "sgd"] = "adam"

    @model_validator(mode="after")
    def _check(self) -> Group:
        if self.pairs == 3:
            raise ValueError("pairs is 3; an even number is needed")
        return self


class Values(Strict):
    values: Annotated[tuple[float, ...], Field(min_length=2)]


def which(value: object) -> str:
    return "bus" if isinstance(value, dict) and "baud" in value else "pins"


class Bus(Strict):
    baud: int
    servos: tuple[int, ...] = ()


class Pins(Strict):
    servo: int


class Settings(Strict):
    meta: Group = Group()
    operator: Group | None = None
    steps: tuple[Annotated[Step | Rest, Field(discriminator="kind")], ...] = ()
    vary: dict[str, tuple[float, float] | Values] = {}
    hold: float | Literal["last"] = 0.0
    wiring: dict[str, Annotated[Annotated[Pins, Tag("pins")] | Annotated[Bus, Tag("bus")], Discriminator(which)]] = {}
    seed: int

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.seed == 13:
            raise ValueError("seed 13 brings bad luck")
        return self


META = "(known: name, pairs, sigma)"
TOP = "(known: hold, meta, operator, seed, steps, vary, wiring)"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"meta": {"pair": 4}}, f"meta.pair: no such key; did you mean meta.pairs? {META}"),
        ({"meta": {"colour": 4}}, f"meta.colour: no such key {META}"),
        ({"operator": {"sigm": 4}}, f"operator.sigm: no such key; did you mean operator.sigma? {META}"),
        ({"foo": {"bar": 1}}, f"foo: no such key {TOP}"),
        ({"pairs": 1}, f"pairs: no such key; did you mean meta.pairs or operator.pairs? {TOP}"),
        ({"seeds": 1, "seed": "x"}, f"seeds: no such key; did you mean seed? {TOP} (and 1 more)"),
        (
            {"steps": [{"kind": "step", "sze": 1}]},
            "steps.0.sze: no such key; did you mean steps.0.size? (known: kind, size)",
        ),
        (
            {"steps": [{"kind": "rest"}, {"kind": "rest", "seconds": "x"}]},
            "steps.1.seconds: expected a whole number (found 'x')",
        ),
        (
            {"wiring": {"ant": {"baud": 1, "servo": 2}}},
            "wiring.ant.servo: no such key; did you mean wiring.ant.servos? (known: baud, servos)",
        ),
        ({"wiring": {"ant": {"baud": "fast"}}}, "wiring.ant.baud: expected a whole number (found 'fast')"),
        ({"vary": {"m": "hello"}}, "vary.m: expected [a number, a number] or {values: ...} (found 'hello')"),
        ({"vary": {"m": [1, "x"]}}, "vary.m.1: expected a number (found 'x')"),
        ({"vary": {"m": {"values": [1]}}}, "vary.m.values: must have at least 2 items, not 1 (found [1])"),
        ({"hold": "first"}, "hold: expected a number or 'last' (found 'first')"),
        ({"meta": 5}, "meta: expected a group of keys (found 5)"),
        ({"meta": {"sigma": 0}}, "meta.sigma: must be greater than 0 (found 0)"),
        ({"meta": {"sigma": float("nan")}}, "meta.sigma: expected a finite number (found nan)"),
        ({"meta": {"pairs": 1.5}}, "meta.pairs: expected a whole number (found 1.5)"),
        ({"meta": {"name": "magic"}}, "meta.name: must be 'adam' or 'sgd' (found 'magic')"),
        ({"meta": {"pairs": 3}}, "meta: pairs is 3; an even number is needed"),
        ({"seed": 13}, "seed 13 brings bad luck"),
        ({"seed": None}, "seed: expected a whole number (found None)"),
    ],
)
def test_the_problem_is_said_in_one_line(change, says):
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"seed": 1, **change})
    assert str(first_problem(caught.value, Settings)) == says


def test_a_missing_key():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({})
    assert first_problem(caught.value, Settings).of("option") == "option seed: missing; add it"


def test_a_problem_of_several_keys_together_names_none_and_shows_no_configuration():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"seed": 13})
    problem = first_problem(caught.value, Settings)
    assert problem.of("training option") == "training options: seed 13 brings bad luck"


def test_a_long_value_is_cut():
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"seed": "x" * 1000})
    assert len(str(first_problem(caught.value, Settings))) < LONGEST_FOUND + 60
