"""Fixed point without a compiler: folding, table, formats, bounds, errors, refusals."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fixed_images import rows_of
from benchmarks.fixed_nets import WIDTHS, measured_case, random_case, uniform_rows
from esmaml_robot.errors import ExportError
from firmware_export.fixed_counts import counts_of, placed, q15, rows_from_ranges
from firmware_export.fixed_model import accumulate, condition, finish, input_values, output_values, run
from firmware_export.fixed_plan import Counts, bounds
from firmware_export.fixed_quantise import quantise
from firmware_export.fixed_rounding import round_rows
from firmware_export.fixed_stages import stages_of
from firmware_export.fixed_table import DOMAIN, tanh_table
from firmware_export.network import Activation, Clip, Dense, Network, Scale


def f32(*values):
    return np.array(values, np.float32)


def quantised(case, bits=16):
    return quantise(case.network, case.inputs, case.outputs, case.calibration, bits)


def linear(weight, bias=None, **layers):
    weight = np.array(weight, np.float32)
    bias = np.zeros(len(weight), np.float32) if bias is None else f32(*bias)
    names = [tuple(f"{letter}{i}" for i in range(size)) for letter, size in zip("xy", weight.shape[::-1], strict=True)]
    return Network(names[0], (Dense(weight, bias),), names[1])


# the form that is quantised


@pytest.mark.parametrize("seed", range(40))
def test_stages_compute_what_the_network_does(seed):
    case = random_case(seed)
    stages = stages_of(case.network)
    np.testing.assert_allclose(
        stages.forward(case.calibration), case.network.forward(case.calibration), rtol=1e-9, atol=1e-9
    )


def test_scales_are_folded_and_a_clip_in_front_limits_the_inputs():
    network = Network(
        ("a", "b"),
        (
            Scale(f32(1, 0), f32(2, -1)),
            Clip(f32(-1, -3), f32(1, 5)),
            Scale(f32(0, 0), f32(4, 4)),
            Dense(np.eye(2, dtype=np.float32), f32(0, 1)),
            Scale(f32(1, 1), f32(10, 10)),
            Activation("sigmoid"),
            Scale(f32(0.25, 0.25), f32(2, 2)),
        ),
        ("y", "z"),
    )
    stages = stages_of(network)
    np.testing.assert_allclose((stages.low, stages.high), [[0.5, -5], [1.5, 3]])
    assert [stage.act.kind if stage.act else None for stage in stages.stages] == ["tanh", None]
    x = np.random.default_rng(0).uniform(-4, 4, (50, 2))
    np.testing.assert_allclose(stages.forward(x), network.forward(x), atol=1e-12)


def test_a_scale_behind_limits_folds_into_both():
    numbers = ([[1, 2], [-3, 1]], [0.5, 0], [-1, -np.inf], [1, 0.5], [0.25, 1], [-2, 3])
    weight, bias, low, high, centre, gain = (np.array(values, np.float32) for values in numbers)
    layers = (Dense(weight, bias), Clip(low, high), Scale(centre, gain))
    network = Network(("a", "b"), layers, ("y", "z"))
    stages = stages_of(network)
    assert len(stages.stages) == 1
    np.testing.assert_array_equal(stages.stages[0].low, [-1.5, -np.inf])
    np.testing.assert_array_equal(stages.stages[0].high, [2.5, -1.5])
    x = np.random.default_rng(0).normal(size=(200, 2))
    np.testing.assert_allclose(stages.forward(x), network.forward(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("inner", "matrices"), [(3, 1), (1, 2)], ids=["wide", "narrow"])
def test_two_matrices_are_multiplied_where_that_is_less_work(inner, matrices):
    rng = np.random.default_rng(1)
    dense = [
        Dense(rng.normal(size=(rows, columns)).astype(np.float32), rng.normal(size=rows).astype(np.float32))
        for rows, columns in ((inner, 4), (5, inner))
    ]
    network = Network(tuple("abcd"), (Scale(*rng.normal(size=(2, 4)).astype(np.float32)), *dense), tuple("vwxyz"))
    stages = stages_of(network)
    assert len(stages.stages) == matrices
    x = rng.normal(size=(100, 4))
    np.testing.assert_allclose(stages.forward(x), network.forward(x), rtol=1e-5, atol=1e-5)


def test_clips_that_do_not_overlap_give_the_limit_of_the_second():
    network = Network(
        ("a",),
        (
            Dense(np.eye(1, dtype=np.float32), f32(0)),
            Clip(f32(2), f32(3)),
            Clip(f32(-1), f32(1)),
        ),
        ("y",),
    )
    assert stages_of(network).forward(np.array([[-9.0], [2.5]])).tolist() == [[1], [1]]


# the table


@pytest.mark.parametrize("fraction", range(8, 16))
def test_tanh_is_odd_monotonic_and_as_exact_as_it_says(fraction):
    table = tanh_table(fraction)
    z = np.arange(-32768, 32768)
    y = table(z)
    assert (table(~z) == ~y).all()
    assert (np.diff(y) >= 0).all()
    error = np.abs((y + 0.5) / 2.0**fraction - np.tanh((z + 0.5) * DOMAIN / 32768)).max()
    assert table.error - 1.3e-5 <= error <= table.error < 1.25 * 2.0**-fraction + 3e-5
    assert y.min() >= -(2**fraction)
    assert y.max() < 2**fraction


# formats


def test_bounds_are_reached_and_not_passed_by_any_order_of_sums():
    weight, bias = np.array([[3, -2, 5], [-1, -1, -1]]), np.array([10, -7])
    low, high = np.array([-4, 0, -1]), np.array([6, 9, 2])
    down, up = bounds(weight, bias, low, high)
    corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
    seen = []
    for order in itertools.permutations(range(4)):  # the bias is one of the terms
        terms = np.concatenate([corners[:, None] * weight, np.broadcast_to(bias[:, None], (8, 2, 1))], axis=2)
        seen.append(terms[:, :, order].cumsum(axis=2))
    assert (np.max(seen, axis=(0, 1, 3)) <= up).all()
    assert (np.min(seen, axis=(0, 1, 3)) >= down).all()
    assert up[0] == np.max(seen, axis=(0, 1, 3))[0]


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("seed", range(12))
def test_no_accumulator_overflows(seed, bits):
    plan = quantised(random_case(seed), bits)
    plan.check()
    x = condition(plan, rows_of(len(plan.inputs), 400))
    for layer, (down, up) in zip(plan.layers, plan.accumulators(), strict=True):
        a = accumulate(layer, x)
        assert (a >= down).all()
        assert (a <= up).all()
        assert down.min() >= -(2**31)
        assert up.max() < 2**31
        x = finish(layer, plan.table, a)


def test_the_first_layer_uses_the_accumulator():
    # formats are lowered as far as the proof asks for, and no further
    plan = quantised(measured_case("mlp17_64_64_6"))
    down, up = plan.accumulators()[0]
    assert (np.maximum(up, -down) > 0.9 * 2**31).all()


def test_formats_are_lowered_until_the_bound_holds():
    # a row whose rounded weights reach past 32 bits at first: 2^31 / 32768 is not a whole number of weights
    for gain in np.linspace(0.5, 2.0, 40):
        case = linear(np.full((1, 30), gain))
        inputs, outputs = q15(case.inputs, np.ones(30)), q15(case.outputs, [64])
        quantise(case, inputs, outputs, uniform_rows(inputs, 64, 3)).check()


def test_a_plan_that_was_changed_does_not_pass():
    plan = quantised(measured_case("lin28x8"))
    layer = plan.layers[0]
    for change, message in (
        ({"weight": layer.weight * 8}, "row 0 has an accumulator beyond 32 bits"),
        ({"multiplier": layer.multiplier * 0}, "multiplier out of range"),
        ({"weight": np.where(layer.weight == layer.weight.max(), 32768, 0)}, "weight beyond 16 bits"),
    ):
        with pytest.raises(ExportError, match=message):
            replace(plan, layers=(replace(layer, **change),)).check()


def test_small_sensors_beside_large_ones_keep_their_weights():
    inputs = (Counts("adc", "V", 2 / 255, -1.0, 0, 255), Counts("angle", "rad", 1 / 32768, 0.0, -32768, 32767))
    centre, shift = placed(inputs, 13)
    assert centre.tolist() == [128, 0]
    assert shift.tolist() == [6, 0]
    network = linear([[0.5, 0.5]])
    plan = quantise(network, inputs, q15(network.outputs, [1]), rows_from_ranges(inputs, 200, 1))
    assert plan.error < 3e-5


@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("high", [1, 2, 3, 255, 256, 511, 512, 1000, 32767])
def test_inputs_fit_16_bits_after_their_shift(high, bits):
    for low in (0, -high, -high - 1 if high < 32767 else -32768):
        inputs = (Counts("x", "", 1 / (high - low), 0.0, low, high),)
        plan = quantise(linear([[1.0]]), inputs, q15(("y",), [2]), uniform_rows(inputs, 64, 1), bits)
        least, most = plan.input_range()
        assert -32768 <= least[0] < most[0] <= 32767
    with pytest.raises(ExportError, match="input 'x' does not fit 16 bits"):
        replace(plan, shift=plan.shift + 16).check()


def test_errors_are_within_the_aims_on_the_measured_networks():
    for name, (bits, aim) in itertools.product(WIDTHS, ((16, 1e-3), (8, 1e-2))):
        case = measured_case(name)
        plan = quantised(case, bits)
        counts = rows_of(len(plan.inputs), 4000)
        gap = output_values(plan, run(plan, counts)) - case.network.forward(input_values(plan, counts))
        assert np.abs(gap).max() / 2 < aim, (name, bits)


@pytest.mark.parametrize("kind", ["relu", "leaky_relu"])
def test_relu_is_exact_but_for_rounding(kind):
    network = Network(
        ("x",),
        (
            Dense(np.eye(1, dtype=np.float32), f32(0)),
            Activation(kind, 0.25),
            Dense(np.eye(1, dtype=np.float32), f32(0)),
        ),
        ("y",),
    )
    inputs = q15(("x",), [1])
    plan = quantise(network, inputs, q15(("y",), [1]), np.linspace(-1, 0.999, 500)[:, None])
    counts = np.arange(-32768, 32768, 7)[:, None]
    exact = network.forward(input_values(plan, counts))
    # a hidden value is worth 2 / 2^15
    assert np.abs(output_values(plan, run(plan, counts)) - exact).max() < 1.6 * 2 / 2**15


def test_rounding_together_beats_rounding_each():
    draw = np.random.default_rng(3)
    x = (draw.normal(size=(500, 4)) @ draw.normal(size=(4, 20)) * 1000).astype(np.int64)  # 20 columns that move as 4
    weight = draw.normal(size=(8, 20)) * 4
    exact = (x - x.mean(axis=0)) @ weight.T
    each, together = (
        np.sqrt((((x - x.mean(axis=0)) @ w.T - exact) ** 2).mean())
        for w in (np.rint(weight), round_rows(weight, x, 127))
    )
    assert together < 0.5 * each
    assert np.abs(round_rows(weight * 100, x, 127)).max() == 127


# refusals


def refused(network, message, inputs=None, rows=None, bits=16, outputs=None):
    inputs = inputs or q15(network.inputs, np.ones(len(network.inputs)))
    outputs = outputs or q15(network.outputs, np.ones(len(network.outputs)))
    with pytest.raises(ExportError, match=message):
        quantise(network, inputs, outputs, uniform_rows(inputs, 64, 1) if rows is None else rows, bits)


def test_weights_that_do_not_fit_are_refused_by_layer_and_row():
    refused(linear([[0.1, 0.2], [0.1, 3e5]]), r"layer 0, row 1: its sums reach 9.83e\+09 counts, 18.3 times")
    refused(linear([[0.1, 0.2], [5e3, 0.1]]), r"layer 0, row 1: .* int8", bits=8)
    hidden = Network(
        ("x",),
        (
            Dense(np.eye(1, dtype=np.float32), f32(0)),
            Activation("tanh"),
            Dense(np.array([[1], [1e6]], np.float32), f32(0, 0)),
        ),
        ("y", "z"),
    )
    refused(hidden, r"layer 2, row 1: .* export the network in float32")


def test_nan_is_refused_before_it_gets_here():
    with pytest.raises(ExportError, match="NaN"):
        linear([[np.nan]])
    rows = np.zeros((64, 1))
    rows[9] = np.nan
    refused(linear([[1.0]]), "calibration row 9: input 'x0' is nan", rows=rows)


def test_observations_beyond_their_counts_are_refused():
    rows = np.zeros((64, 1))
    rows[5] = 1.2
    refused(
        linear([[1.0]]), r"calibration row 5: input 'x0' is 1.2, outside what its counts can carry \(-1 \.\.", rows=rows
    )
    with pytest.raises(ExportError, match=r"shape \(10, 1\)"):
        counts_of(q15(("x",), [1]), np.zeros((10, 1)))


def test_counts_that_are_not_16_bits_are_refused():
    with pytest.raises(ExportError, match="origin of 32768"):
        Counts("adc", "V", 1.0, 0.0, 0, 65535)
    with pytest.raises(ExportError, match="do not make a value"):
        Counts("adc", "V", 0.0, 0.0, 0, 255)


def test_what_has_no_fixed_form_is_refused():
    def network(*layers):
        return Network(("x",), (Dense(np.eye(1, dtype=np.float32), f32(0)), *layers), ("y",))

    refused(network(Activation("softsign")), r"layer 1 \(softsign\) has no fixed-point form")
    refused(network(Activation("leaky_relu", 1.5)), "slope 1.5")
    wide = linear(np.ones((1, 257)))
    refused(wide, "257 wide")
    refused(linear([[1.0]]), "counts of 2 inputs", inputs=q15(("a", "b"), [1, 1]))
    clipped = Network(("x",), (Clip(f32(5), f32(6)), Dense(np.eye(1, dtype=np.float32), f32(0))), ("y",))
    refused(clipped, "leaves no two of its counts")


def test_the_hash_is_of_all_that_the_bits_depend_on():
    plan = quantised(measured_case("mlp8_32_4"))
    layer = plan.layers[0]
    others = [
        replace(plan, fraction=plan.fraction - 1),
        replace(plan, shift=plan.shift + 1),
        replace(plan, inputs=(replace(plan.inputs[0], low=-5), *plan.inputs[1:])),
        *(
            replace(plan, layers=(replace(layer, **change), *plan.layers[1:]))
            for change in ({"bias": layer.bias + 1}, {"shift": 16}, {"low": layer.low + 1}, {"act": "none"})
        ),
    ]
    assert len({plan.fixed_hash, *(other.fixed_hash for other in others)}) == 1 + len(others)
    assert plan.fixed_hash == quantised(measured_case("mlp8_32_4")).fixed_hash
