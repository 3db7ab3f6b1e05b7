"""OperatorConfig: what it builds, what it refuses."""

from __future__ import annotations

import importlib.util

import pytest
from pydantic import ValidationError

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.batch_hill_climb import BatchHillClimb
from esmaml_robot.adaptation.confirmed_hill_climb import ConfirmedHillClimb
from esmaml_robot.adaptation.decode import Decoder
from esmaml_robot.adaptation.es_ascent import ESAscent
from esmaml_robot.adaptation.es_gradient import ESGradient
from esmaml_robot.adaptation.hill_climb import HillClimb
from esmaml_robot.adaptation.none import NoAdaptation
from esmaml_robot.errors import ConfigError
from esmaml_robot.search import Search

KINDS = {
    "hill_climb": HillClimb,
    "batch_hill_climb": BatchHillClimb,
    "confirmed_hill_climb": ConfirmedHillClimb,
    "es_gradient": ESGradient,
    "es_ascent": ESAscent,
    "none": NoAdaptation,
}


@pytest.mark.parametrize("name", KINDS)
def test_config_builds_the_operator_of_its_name(name):
    values = {"queries": 6, "sigma": 0.3, "parallel": 2, "mode": "average", "alpha": 0.7, "steps": 3, "pairs": 2}
    values |= {"shrink": 0.9, "length": 0.5, "kind": "plain", "normalise": False}
    config = OperatorConfig(name=name, directions="dpp", rho=4, decoder="ridge", regularisation=0.2, **values)
    operator = config.build()
    assert isinstance(operator, KINDS[name])
    assert operator.name == name
    for key, value in values.items():
        assert getattr(operator, key, value) == value
    assert getattr(operator, "search", Search("dpp", 4)) == Search("dpp", 4)
    assert getattr(operator, "decoder", Decoder("ridge", 0.2)) == Decoder("ridge", 0.2)
    assert OperatorConfig.model_validate_json(config.model_dump_json()) == config


def test_names_are_all_there():
    assert set(KINDS) == set(OperatorConfig.model_fields["name"].annotation.__args__)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "es_gradient", "queries": 5}, "queries is 5; antithetic pairs need an even number"),
        ({"name": "confirmed_hill_climb", "queries": 4}, "queries is 4; confirmed_hill_climb needs 5 or more"),
        (
            {"name": "es_gradient", "decoder": "lasso", "regularisation": 1.0},
            "regularisation is 1; from 1 on, lasso finds no slope",
        ),
        ({"name": "es_ascent", "decoder": "lasso", "regularisation": 2.0}, "regularisation is 2; from 1 on"),
        ({"directions": "dpp", "queries": 101}, "dpp choose 101 of 505; 500 is the most"),
        ({"directions": "dpp", "name": "es_ascent", "pairs": 101}, "dpp choose 101 of 505"),
        ({"directions": "dpp", "name": "batch_hill_climb", "parallel": 26, "rho": 20}, "dpp choose 26 of 520"),
        ({"directions": "sobol"}, "gaussian"),
        ({"decoder": "ols"}, "mc"),
        ({"rho": 1}, "greater than or equal to 2"),
        ({"regularisation": 0}, "greater than 0"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"length": float("inf")}, "finite"),
    ],
)
def test_what_cannot_work_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        OperatorConfig.model_validate(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "es_gradient", "queries": 5, "kind": "plain"},
        {"name": "hill_climb", "queries": 4},
        {"name": "hill_climb", "decoder": "lasso", "regularisation": 2.0},  # it has no decoder
        {"name": "es_gradient", "directions": "dpp", "queries": 200},
        {"name": "batch_hill_climb", "directions": "dpp", "queries": 200},
        {"name": "none", "directions": "dpp", "queries": 2000},
    ],
)
def test_limits_hold_for_the_operator_that_has_them_only(settings):
    OperatorConfig.model_validate(settings).build()


@pytest.mark.parametrize("decoder", ["ridge", "lasso"])
def test_a_missing_scikit_learn_is_named_with_its_extra(monkeypatch, decoder):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sklearn" else find(name))
    config = OperatorConfig(name="es_gradient", decoder=decoder)  # reading a run that used it must work
    with pytest.raises(ConfigError, match=rf"'{decoder}' needs scikit-learn.*pip install 'esmaml-robot\[regression\]'"):
        config.build()
    OperatorConfig(name="es_gradient").build()
    OperatorConfig(name="hill_climb", decoder=decoder).build()
