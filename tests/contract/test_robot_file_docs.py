"""hardware_configs/README.md: its example parses, its keys are the format's, and its errors are the ones one gets."""

import re
from pathlib import Path

import pytest
import yaml

from esmaml_robot.errors import ConfigError
from esmaml_robot.robot_spec import (
    Abort,
    ActionSquareTerm,
    Actuator,
    ConstantTerm,
    Episode,
    LinearTerm,
    ProgressTerm,
    Reward,
    RobotSpec,
    Sensor,
    SquareTerm,
    Watchdog,
    parse_robot,
)

FOLDER = Path(__file__).parents[2] / "hardware_configs"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")
MINIMAL = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[0]
MODELS = (RobotSpec, Episode, Watchdog, Sensor, Actuator, Abort, Reward, ConstantTerm, LinearTerm, SquareTerm)
TERMS = (ConstantTerm, LinearTerm, SquareTerm, ProgressTerm, ActionSquareTerm)

#: What was changed in rover_uno.yaml to get each error of the document, in its order.
MISTAKES = (
    ("rate_limit:", "rate_limt:"),
    ("    unit: m\n", ""),
    ("physics_rate_hz: 10", "physics_rate_hz: 25"),
    ("hold_ms: 300", "hold_ms: 150"),
    ("safe: 0.0", "safe: 2.0"),
    ("range: [-1.0, 1.0]", "range: [-1.5, 1.0]"),
    ("sensor: beacon", "sensor: becon"),
    ("name: rover_uno", "name: Rover"),
)
ERRORS = [line for line in TEXT.splitlines() if line.startswith("my_robot.yaml: ")]


def test_the_example_parses_and_is_as_small_as_can_be():
    spec = parse_robot(MINIMAL, "cart.yaml")
    assert (spec.name, spec.abort, spec.reward.after_abort) == ("cart", (), 0.0)
    for key in yaml.safe_load(MINIMAL):
        values = yaml.safe_load(MINIMAL)
        del values[key]
        with pytest.raises(ConfigError):
            parse_robot(yaml.safe_dump(values), "cart.yaml")


def test_every_key_of_the_format_is_documented():
    for model in MODELS:
        for key in model.model_fields:
            assert re.search(rf"`(\w+\.)?{key}`", TEXT) or re.search(rf"[{{ ]{key}:", TEXT), f"{model.__name__}.{key}"
    for term in TERMS:
        assert f"| `{term.model_fields['kind'].annotation.__args__[0]}` |" in TEXT


@pytest.mark.parametrize(("mistake", "documented"), list(zip(MISTAKES, ERRORS, strict=True)))
def test_the_errors_are_the_ones_one_gets(mistake, documented):
    spoilt = (FOLDER / "rover_uno.yaml").read_text(encoding="utf-8").replace(*mistake, 1)
    with pytest.raises(ConfigError) as caught:
        parse_robot(spoilt, "my_robot.yaml")
    assert str(caught.value) == documented
