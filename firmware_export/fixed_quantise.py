"""A network with calibration rows, quantised: layer after layer on what the integer layers before it really give."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ExportError

from .fixed_counts import counts_of, limited, limits_of, placed, scales_of
from .fixed_layer import Bits, Columns, quantise_layer
from .fixed_model import accumulate, condition, finish, input_values, run
from .fixed_plan import MAX_WIDTH, Counts, FixedLayer, FixedNetwork
from .fixed_stages import Stages, in_counts, stages_of
from .network import Network

I64 = npt.NDArray[np.int64]

#: Formats that are tried, and the best one taken: least bits of an input, and bits behind the point of hidden values.
#: Not always the most: bits that a value has, a weight lacks, because both share the 31 of the accumulator.
INPUT_BITS: dict[Bits, tuple[int, ...]] = {16: (13, 10), 8: (15, 13)}
FRACTIONS: dict[Bits, tuple[int, ...]] = {16: (15, 14, 13, 12), 8: (15, 14, 13, 12)}


def _attempt(
    stages: Stages,
    inputs: tuple[Counts, ...],
    outputs: tuple[Counts, ...],
    counts: I64,
    bits: Bits,
    least_bits: int,
    fraction: int,
) -> FixedNetwork:
    """A plan with one choice of formats; its error is still to be measured."""
    centre, shift = placed(inputs, least_bits)
    plan = FixedNetwork(bits, fraction, inputs, centre, shift, (), outputs, np.ones(len(outputs)), np.inf)
    scale, offset = scales_of(inputs)
    taken = Columns(scale / 2.0**shift, scale * centre + offset, *plan.input_range())
    x, exact = condition(plan, counts), input_values(plan, counts)
    layers: list[FixedLayer] = []
    for stage in stages.stages:
        wanted = exact @ stage.weight.T + stage.bias
        layer = quantise_layer(stage, taken, x, wanted, bits, fraction, stage is stages.stages[-1])
        layers.append(layer)
        exact = stage.forward(exact)
        x = finish(layer, plan.table, accumulate(layer, x))
        rows = len(layer.bias)
        ends = layer.range_of(plan.table)
        taken = Columns(np.full(rows, layer.step), np.full(rows, layer.half * layer.step), *ends)
    return replace(plan, layers=tuple(layers))


def _measured(plan: FixedNetwork, stages: Stages, counts: I64) -> FixedNetwork:
    """The plan with its error over all calibration rows."""
    exact = stages.forward(input_values(plan, counts))
    span = np.maximum(exact.max(axis=0) - exact.min(axis=0), 1.0)
    return replace(plan, output_range=span, error=float((np.abs(run(plan, counts) - exact) / span).max()))


def quantise(
    network: Network, inputs: Sequence[Counts], outputs: Sequence[Counts], calibration: npt.ArrayLike, bits: Bits = 16
) -> FixedNetwork:
    """A network in integers.

    Args:
        network: what is quantised; its inputs are values (scale * count + offset), not counts.
        inputs, outputs: what its inputs and outputs are in counts.
        calibration: values of the inputs, (rows, inputs), 32 rows or more: from rollouts, or `rows_from_ranges`. Half
            of them choose formats and round weights, all of them measure the error.
        bits: of a weight.

    Raises:
        ExportError: something does not fit: named are the layer and its row, or the input.
    """
    inputs, outputs = tuple(inputs), tuple(outputs)
    for what, given, wanted in (("inputs", inputs, network.inputs), ("outputs", outputs, network.outputs)):
        if len(given) != len(wanted):
            raise ExportError(f"counts of {len(given)} {what} were given for a network with {len(wanted)}.")
    if max(network.widths) > MAX_WIDTH:
        raise ExportError(f"a layer is {max(network.widths)} wide; fixed point goes up to {MAX_WIDTH}.")
    counts = counts_of(inputs, calibration)
    stages = stages_of(network)
    inputs = limited(inputs, stages)
    stages = in_counts(stages, *scales_of(outputs), *limits_of(outputs))
    plans: list[FixedNetwork] = []
    refusals: list[ExportError] = []
    # formats that lead to the same shifts need to be tried once only
    least = {tuple(placed(inputs, wanted)[1].tolist()): wanted for wanted in INPUT_BITS[bits]}
    fractions = FRACTIONS[bits] if len(stages.stages) > 1 else FRACTIONS[bits][:1]
    for formats in itertools.product(least.values(), fractions):
        try:
            plans.append(_measured(_attempt(stages, inputs, outputs, counts[::2], bits, *formats), stages, counts))
        except ExportError as refusal:
            refusals.append(refusal)
    if not plans:
        raise refusals[0]
    best = min(plans, key=lambda plan: plan.error)
    best.check()
    return best
