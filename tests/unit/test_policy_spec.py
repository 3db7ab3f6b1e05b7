"""Architectures: number of parameters, layout hash, words, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.policy_layers import layers_of, stages_of

RANK_2 = {"layers": "low_displacement", "displacement_rank": 2}


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "kind", "dimension"),
    [
        (2, (8,), 2, {}, 42),
        (3, (16, 16), 4, {}, 404),
        (28, (), 8, {}, 232),
        (2, (8,), 2, {"activation": "relu", "action_filter": 0.5}, 42),
        (2, (8,), 2, {"clock_steps": 10}, 4 * 8 + 8 + 18),
        (2, (8,), 2, {"layers": "toeplitz"}, 9 + 8 + 9 + 2),
        (28, (32, 32), 8, {"layers": "toeplitz"}, 59 + 32 + 63 + 32 + 39 + 8),
        (28, (32, 32), 8, RANK_2, 3 * 4 * 32 + 32 + 32 + 8),
        (3, (), 5, RANK_2, 4 * 5 + 5),
    ],
)
def test_dimension_counts_weights_and_biases(inputs, hidden, outputs, kind, dimension):
    spec = PolicySpec(inputs=inputs, outputs=outputs, hidden=hidden, **kind)
    assert spec.dimension == dimension
    theta = initial_theta(spec, "scaled", 1.0, seed=3)
    assert Policy(spec, theta, Normaliser.identity(spec.inputs)).theta.shape == (dimension,)


@pytest.mark.parametrize("kind", [{}, {"layers": "toeplitz"}, RANK_2], ids=["dense", "toeplitz", "rank 2"])
def test_every_parameter_has_one_place_and_is_read(kind):
    spec = PolicySpec(inputs=3, outputs=4, hidden=(7, 5), clock_steps=4, **kind)
    layers = layers_of(spec)
    assert [layer.at for layer in layers] == [0, *(layer.end for layer in layers[:-1])]
    assert layers[-1].end == spec.dimension
    read = [stage.index.ravel() for stage in stages_of(spec)]
    read += [np.arange(spec.dimension)[stage.bias] for stage in stages_of(spec) if stage.bias is not None]
    np.testing.assert_array_equal(np.unique(np.concatenate(read)), np.arange(spec.dimension))


def test_layout_hash_of_older_policies_is_what_it_was():
    # from files and firmware made before the fields below existed
    assert PolicySpec(inputs=2, outputs=2).layout_hash == "e3bac673f43fa79f"
    assert PolicySpec(inputs=3, outputs=2, hidden=(16, 16)).layout_hash == "243b2f30ba14be66"
    assert PolicySpec(inputs=28, outputs=8, hidden=()).layout_hash == "750c435d02539248"
    older = PolicySpec.model_validate_json('{"inputs":2,"outputs":2,"hidden":[8],"activation":"tanh"}')
    assert older == PolicySpec(inputs=2, outputs=2)


def test_layout_hash_tells_architectures_apart():
    kinds = [
        {},
        {"activation": "relu"},
        {"layers": "toeplitz"},
        {"layers": "low_displacement", "displacement_rank": 1},
        RANK_2,
        {"clock_steps": 10},
        {"clock_steps": 11},
        {"action_filter": 0.5},
        {"action_filter": 0.25},
    ]
    specs = [PolicySpec(inputs=2, outputs=2, **kind) for kind in kinds]
    assert len({spec.layout_hash for spec in specs}) == len(kinds)
    for spec in specs:
        assert PolicySpec.model_validate_json(spec.model_dump_json()).layout_hash == spec.layout_hash


def test_a_policy_says_what_it_is():
    assert PolicySpec(inputs=2, outputs=2).describe() == "tanh MLP 2-8-2, 42 parameters"
    assert PolicySpec(inputs=28, outputs=8, hidden=()).describe() == "linear 28-8, 232 parameters"
    spec = PolicySpec(inputs=2, outputs=2, activation="relu", clock_steps=20, action_filter=0.3, **RANK_2)
    assert spec.describe() == (
        "relu MLP 4-8-2, low-displacement layers of rank 2, a clock of 20 steps among the inputs, action filter 0.3, "
        "74 parameters"
    )
    assert (
        PolicySpec(inputs=2, outputs=2, layers="toeplitz").describe()
        == "tanh MLP 2-8-2, Toeplitz layers, 28 parameters"
    )


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"layers": "low_displacement"}, "displacement_rank"),
        ({"displacement_rank": 2}, "displacement_rank"),
        ({"layers": "toeplitz", "displacement_rank": 2}, "displacement_rank"),
        ({"layers": "low_displacement", "displacement_rank": 0}, "displacement_rank"),
        ({"layers": "sparse"}, "layers"),
        ({"activation": "sigmoid"}, "activation"),
        ({"clock_steps": 1}, "clock_steps"),
        ({"clock_steps": 4097}, "clock_steps"),
        ({"action_filter": 0.0}, "action_filter"),
        ({"action_filter": 1.0}, "action_filter"),
        ({"action_filter": float("nan")}, "action_filter"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(fields, where):
    with pytest.raises(ValidationError, match=where):
        PolicySpec(inputs=2, outputs=2, **fields)
