"""What is measured: for each system a function that turns a net into C sources and an adapter.

Another format is one more entry in SYSTEMS. Its function gets a Net and a target ("arm" or "avr") and returns a
Sources (firmware_export/report_sources.py).

A system that cannot take a net raises Refused with its own words; the row then says so.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import RobotSpec
from firmware_export.build import RUNTIME
from firmware_export.fixed_c import render_fixed_c
from firmware_export.fixed_counts import q15, rows_from_ranges
from firmware_export.fixed_layer import Bits
from firmware_export.fixed_plan import INT16
from firmware_export.fixed_quantise import quantise
from firmware_export.float_c import render_network_c
from firmware_export.network import Dense
from firmware_export.policy_c import render_policy_c
from firmware_export.report_sources import EXACT, Array, Refused, Sources

from .nets import Net

#: Rows that fixed point is calibrated with, uniform over [-1, 1]; not the vectors that are measured.
CALIBRATION_ROWS = 1000


def float32_sources(net: Net, target: str) -> Sources:
    """Ours, float32."""
    return Sources(
        files=render_network_c(net.network, "network"),
        adapter='#include "bench.h"\n#include "network.h"\nstatic float work[NETWORK_WORK];\n'
        "void bench_prepare(void) {}\n"
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    network_run(x, y, work);\n}\n",
        flags=EXACT,
    )


def _robot(net: Net) -> RobotSpec:
    """A robot with as many sensors and actuators as the net has inputs and outputs, all from -1 to 1."""
    part = {"unit": "1", "counts": [-1000, 1000], "scale": 0.001, "range": [-1, 1]}
    sensors = [part | {"name": n, "source": f"s.{n}", "observed": True} for n in net.network.inputs]
    actuators = [
        part | {"name": n, "sink": f"a.{n}", "rate_limit": 1000, "hold": "last", "safe": 0} for n in net.network.outputs
    ]
    return RobotSpec.model_validate(
        {
            "format": 1, "name": "bench", "control_rate_hz": 100, "physics_rate_hz": 100,
            "episode": {"steps": 10, "reset": "self"}, "watchdog": {"hold_ms": 20, "release_ms": 40},
            "sensors": sensors, "actuators": actuators, "reward": {"terms": [{"kind": "constant", "weight": 1.0}]},
        }
    )  # fmt: skip


def policy_sources(net: Net, target: str) -> Sources:
    """Ours, float32, as in the firmware: theta is an argument and can be exchanged. Outputs are clipped to [-1, 1]."""
    dense = [layer for layer in net.network.layers if isinstance(layer, Dense)]
    theta = np.concatenate([part for layer in dense for part in (layer.weight.ravel(), layer.bias)])
    n_in, n_out = len(net.network.inputs), len(net.network.outputs)
    layout = PolicySpec(inputs=n_in, outputs=n_out, hidden=tuple(len(layer.bias) for layer in dense[:-1]))
    policy = Policy(layout, theta, Normaliser.identity(n_in))
    parameters = "parameters" if target == "avr" else "policy_parameters"
    copy = (
        "static float parameters[POLICY_PARAMETERS];\nvoid bench_prepare(void)\n{\n    int i;\n"
        "    for (i = 0; i < POLICY_PARAMETERS; i++) {\n"
        "        parameters[i] = rom_f32(&policy_parameters[i]);\n    }\n}\n"
        if target == "avr"
        else "void bench_prepare(void) {}\n"
    )
    if target == "avr" and 4 * theta.size > 1536:
        raise Refused("parameters that can be exchanged do not fit into the chip's RAM")
    return Sources(
        files=render_policy_c(policy, _robot(net), 8),
        adapter=f'#include "bench.h"\n#include "policy.h"\n#include "rom.h"\n{copy}'
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    struct policy_state state = {0};\n"
        f"    policy_forward({parameters}, &state, x, y);\n}}\n",
        expected=lambda outputs: np.clip(outputs, -1, 1),
        flags=(*EXACT, "-DESMAML_FIRMWARE", f"-I{RUNTIME}"),
    )


def fixed_sources(net: Net, target: str, bits: Bits, plain: bool) -> Sources:
    """Ours, in integers of 16 bits with weights of 16 or 8: counts in, counts out."""
    names = net.network.inputs
    inputs = q15(names, np.ones(len(names)))
    rows = rows_from_ranges(inputs, CALIBRATION_ROWS, 1)
    outputs = q15(net.network.outputs, np.abs(net.network.forward(rows)).max(axis=0))
    plan = quantise(net.network, inputs, outputs, rows, bits)
    scale, out = (np.array([one.scale for one in ends]) for ends in (inputs, outputs))

    def counts(values: Array) -> Array:
        return np.clip(np.rint(values / scale), *INT16).astype(np.int16)

    return Sources(
        files=render_fixed_c(plan, "fixed"),
        adapter='#include "bench.h"\n#include "fixed.h"\nstatic fixed_buffer buffer;\n'
        "void bench_prepare(void) {}\n"
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    fixed_infer(&buffer, x, y);\n}\n",
        input="int16_t",
        output="int16_t",
        encode=counts,
        decode=lambda values: np.asarray(values * out, np.float64),
        flags=("-std=c99", *(("-DFIXED_PLAIN",) if plain else ())),
    )


def emlearn_sources(net: Net, target: str) -> Sources:
    """The loadable model, as emlearn's own converter writes it."""
    import emlearn

    if net.name.startswith("lin"):
        try:
            emlearn.convert(net.model)
        except Exception as problem:
            raise Refused(str(problem)) from problem
    # it builds in a folder "tmp" of where it is
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "model.h"
        emlearn.convert(net.model, method="loadable").save(file=str(path), name="model")
        text = path.read_text()
    n = len(net.network.outputs)
    return Sources(
        # everything is static in one header, so the adapter's file is the exporter's as well
        files={"model.h": text},
        adapter='#include "bench.h"\n#include "model.h"\n'
        "void bench_prepare(void) {}\n"
        "void bench_infer(const bench_input *x, bench_output *y)\n"
        f"{{\n    eml_net_regress(&model, x, {len(net.network.inputs)}, y, {n});\n}}\n",
        flags=("-isystem", str(Path(emlearn.includedir))),
    )


def m2cgen_sources(net: Net, target: str) -> Sources:
    """m2cgen's C, which computes in double."""
    import m2cgen

    try:
        text = m2cgen.export_to_c(net.model)
    except NotImplementedError as problem:
        raise Refused(str(problem)) from problem
    n_in, n_out = len(net.network.inputs), len(net.network.outputs)
    return Sources(
        files={"model.c": text},
        adapter='#include "bench.h"\nvoid score(double *input, double *output);\n'
        "void bench_prepare(void) {}\n"
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n"
        f"    double in[{n_in}], out[{n_out}];\n    int i;\n"
        f"    for (i = 0; i < {n_in}; i++) {{\n        in[i] = (double)x[i];\n    }}\n"
        "    score(in, out);\n"
        f"    for (i = 0; i < {n_out}; i++) {{\n        y[i] = (float)out[i];\n    }}\n}}\n",
    )


#: Name in the table -> what makes its sources.
SYSTEMS: dict[str, Callable[[Net, str], Sources]] = {
    "esmaml-float32": float32_sources,
    "esmaml-policy.c": policy_sources,
    "esmaml-int16": partial(fixed_sources, bits=16, plain=False),
    "esmaml-int16, plain C": partial(fixed_sources, bits=16, plain=True),
    "esmaml-int8": partial(fixed_sources, bits=8, plain=False),
    "esmaml-int8, plain C": partial(fixed_sources, bits=8, plain=True),
    "emlearn": emlearn_sources,
    "m2cgen": m2cgen_sources,
}
