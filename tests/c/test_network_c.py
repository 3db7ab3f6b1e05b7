"""network.c, compiled: the bits of its numpy twin, here and on both emulated chips, and near the exact answer."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.inference.nets import Net
from esmaml_robot.errors import ExportError
from firmware_export.compiler import FLOAT_FLAGS, STRICT_FLAGS, compile_c
from firmware_export.float_c import blocks_of, interleaved, render_network_c
from firmware_export.float_model import forward32, probe_inputs, tolerance
from firmware_export.network import Activation, Clip, Dense, Network, Scale
from firmware_export.report_sources import EXACT, Sources
from firmware_export.report_targets import TARGETS, run_image

FLOAT_P = ctypes.POINTER(ctypes.c_float)
ALL = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign")


def dense(rng, n_in, n_out):
    return Dense(
        (rng.normal(size=(n_out, n_in)) * 1.5 / np.sqrt(n_in)).astype(np.float32),
        rng.normal(size=n_out).astype(np.float32),
    )


def network(*widths, kinds=("tanh",), before=(), after=(), seed=5):
    """Dense layers of these widths, activations of `kinds` in turn between them."""
    rng = np.random.default_rng(seed)
    layers = list(before)
    for number, (n_in, n_out) in enumerate(pairwise(widths)):
        if number:
            layers.append(Activation(kinds[(number - 1) % len(kinds)], 0.3))
        layers.append(dense(rng, n_in, n_out))
    layers += after
    return Network(tuple(f"x{i}" for i in range(widths[0])), tuple(layers), tuple(f"y{i}" for i in range(widths[-1])))


def normalised(n):
    rng = np.random.default_rng(n)
    centre, gain = rng.normal(size=n).astype(np.float32), rng.uniform(0.5, 3, n).astype(np.float32)
    limits = np.full(n, 5, np.float32)
    return (Scale(centre, gain), Clip(-limits, limits))


def uneven(n):
    low = np.linspace(-1, 0, n, dtype=np.float32)
    low[0] = -np.inf
    return (Clip(low, np.full(n, np.inf, np.float32)), Scale(np.full(n, 0.25, np.float32), np.ones(n, np.float32)))


LONE = Network(
    ("a", "b", "c"), (Scale(np.float32([1, 2, 3]), np.float32([2, 1, 1])), Activation("tanh")), ("p", "q", "r")
)
NETS = {
    "linear": network(28, 8),
    "one": network(1, 1),
    "odd": network(7, 15, 3, kinds=("sigmoid",)),
    "all": network(5, 9, 6, 11, 4, 7, 3, 2, kinds=ALL),
    "policy": network(6, 16, 16, 3, before=normalised(6), after=(Clip(*np.float32([[-1] * 3, [1] * 3])),)),
    "uneven": network(4, 5, 3, kinds=("relu",), after=(Activation("tanh"), *uneven(3))),
    "no matrix": LONE,
}


def place(texts, folder):
    for file, text in texts.items():
        (folder / file).write_text(text)


class Compiled:
    """The generated C as a library of this process."""

    def __init__(self, net, folder, compiler_flags=()):
        place(render_network_c(net), folder)
        self.net = net
        library = compile_c([folder / "network.c"], folder / "network.so", shared=True, extra=compiler_flags)
        self.library = ctypes.CDLL(str(library))
        self.library.network_run.restype = None
        self.work = np.zeros(4096, np.float32)

    def run(self, rows):
        out = np.full((len(rows), len(self.net.outputs)), 77, np.float32)
        for row, target in zip(np.ascontiguousarray(rows), out, strict=True):
            self.library.network_run(*(a.ctypes.data_as(FLOAT_P) for a in (row, target, self.work)))
        return out

    def selftest(self):
        worst = ctypes.c_float(-1)
        return self.library.network_selftest(self.work.ctypes.data_as(FLOAT_P), ctypes.byref(worst)), worst.value


def inputs_of(net, rows=2000):
    x = probe_inputs(net, rows, 3)
    special = np.float32([0, -0.0, 1e-45, -1e-38, 9.5, -9.5, 1e4, -1e4, 88, -88])
    picks = np.random.default_rng(1).integers(0, len(special), (rows // 10, x.shape[1]))
    x[: len(picks)] = special[picks]
    return x


@pytest.mark.parametrize("name", NETS)
def test_compiled_network_has_the_bits_of_numpy_and_stays_near_the_exact_answer(name, tmp_path):
    net = NETS[name]
    compiled, x = Compiled(net, tmp_path), inputs_of(net)
    got = compiled.run(x)
    assert got.tobytes() == forward32(net, x).tobytes()
    assert np.isfinite(got).all()
    assert (np.abs(got - net.forward(x)) < tolerance(net, x)).all()
    assert compiled.selftest() == (0, 0.0)


def test_nan_comes_out_as_nan(tmp_path):
    for name in ("all", "policy"):
        folder = tmp_path / name
        folder.mkdir()
        net = NETS[name]
        assert np.isnan(Compiled(net, folder).run(np.full((1, len(net.inputs)), np.nan, np.float32))).all()


@pytest.mark.parametrize(
    ("target", "flags"),
    [(t, ()) for t in TARGETS] + [(TARGETS[0], ("-O0", "-DNETWORK_PLAIN_C")), (TARGETS[1], ("-O2", "-flto"))],
    ids=["arm", "avr", "arm-plain", "avr-O2-lto"],
)
@pytest.mark.parametrize("name", ["linear", "all", "policy"])
def test_chips_give_the_same_bits(name, target, flags, tmp_path):
    net = NETS[name]
    x = inputs_of(net, 40)
    adapter = (
        '#include "bench.h"\n#include "network.h"\nstatic float work[NETWORK_WORK];\nvoid bench_prepare(void) {}\n'
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    network_run(x, y, work);\n"
        "    if (network_selftest(work, 0) != 0) {\n        y[0] = 77.0f;\n    }\n}\n"
    )
    sources = Sources(render_network_c(net, vectors=4), adapter, flags=(*EXACT, *flags))
    run, _ = run_image(target, Net(name, net, None, x, net.forward(x)), sources, tmp_path)
    assert run.outputs.tobytes() == forward32(net, x).tobytes()


def products_and_sums(rng, rows, count):
    """A matrix of one column, its bias, and inputs: what a multiply-accumulate can meet, cancellation most of all."""
    bits = rng.integers(0, 2**32, rows, dtype=np.uint32)
    weight = bits.view(np.float32)
    weight = np.where(np.abs(weight) < 1e30, weight, np.float32(1.5)).astype(np.float32)  # for NaN as well
    weight[: rows // 2] = (
        rng.choice([1, -1], rows // 2) * rng.uniform(1, 2, rows // 2) * 2.0 ** rng.integers(-3, 3, rows // 2)
    )
    weight[:6] = [0, -0.0, 1, 1e-45, 2.0**-126, 2 - 2.0**-23]
    x = rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    x = np.where(np.isfinite(x), x, np.float32(3)).astype(np.float32)
    x[: 3 * count // 4] = rng.uniform(-4, 4, 3 * count // 4)
    x[:8] = [0, -0.0, 1, -1, 2 - 2.0**-23, 1e-45, 3.4e38, 2.0**-126]
    # short mantissas, whose products have zeros at their ends, and so ties
    x[8 : count // 2] = np.round(x[8 : count // 2] * 2.0**11) / 2.0**11
    weight[6 : rows // 3] = np.round(weight[6 : rows // 3] * 2.0**12) / 2.0**12
    near = x[rng.integers(8, 3 * count // 4, rows)]
    with np.errstate(all="ignore"):
        bias = -weight * near
    bias = np.where(np.abs(bias) < 1e30, bias, np.float32(-2)).astype(np.float32)
    # from the exact opposite to some units beside it, and for a third something of another size
    bias = (bias.view(np.uint32) + rng.integers(-2, 3, rows).astype(np.uint32)).view(np.float32)
    third = rng.integers(0, rows, rows // 3)
    bias[third] = bias[third] * (2.0 ** rng.integers(-30, 30, rows // 3)).astype(np.float32)
    bias = np.where(np.abs(bias) < 1e30, bias, np.float32(0)).astype(np.float32)  # beside 0 lies NaN
    return weight, bias, x


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_multiply_accumulate_of_the_chips_rounds_as_ieee_does(target, tmp_path):
    weight, bias, x = products_and_sums(np.random.default_rng(11), 180, 60)
    names = tuple(f"y{i}" for i in range(len(bias)))
    net = Network(("x",), (Dense(weight[:, None], bias),), names)
    adapter = (
        '#include "bench.h"\n#include "network.h"\nvoid bench_prepare(void) {}\n'
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    network_run(x, y, y);\n}\n"
    )
    sources = Sources(render_network_c(net, vectors=1), adapter, flags=EXACT)
    rows = x[:, None]
    run, _ = run_image(target, Net("mac", net, None, rows, np.zeros((len(x), len(bias)))), sources, tmp_path)
    expected = forward32(net, rows)
    sound = ~np.isnan(expected)
    assert sound.mean() > 0.99
    assert np.isinf(expected).any()
    assert (expected == 0).any()
    assert (run.outputs[sound].view(np.uint32) == expected[sound].view(np.uint32)).all()


def test_blocks_cover_all_rows_and_hold_all_weights():
    for rows in range(1, 40):
        assert sum(size for size, _ in blocks_of(rows)) == rows
    layer = dense(np.random.default_rng(0), 3, 5)
    flat = interleaved(layer)
    assert flat[:4].tolist() == layer.bias[:4].tolist()
    assert flat[4:8].tolist() == layer.weight[:4, 0].tolist()
    assert flat[-4:].tolist() == [layer.bias[4], *layer.weight[4]]


HOST = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Wshadow",
    "-Werror",
    "-c",
    "network.c",
]
COMPILERS = {
    "gcc": ["gcc", *STRICT_FLAGS, *FLOAT_FLAGS, "-c", "network.c"],
    "gcc -O0": ["gcc", "-std=c99", "-O0", *HOST],
    "clang": ["clang", "-std=c99", "-O2", *HOST],
    "g++": ["g++", "-x", "c++", "-std=c++17", "-O2", *HOST],
    "clang++": ["clang++", "-x", "c++", "-std=c++17", "-O2", *HOST],
    "arm": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2",
            "-std=c99", *HOST],
    "arm soft": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb", "-Os", "-std=c99", *HOST],
    "avr": ["avr-gcc", "-mmcu=atmega328p", "-Os", "-std=c99", *HOST],
    "avr -O2": ["avr-gcc", "-mmcu=atmega2560", "-O2", "-std=c99", *HOST],
    "avr without mul": ["avr-gcc", "-mmcu=attiny85", "-Os", "-std=c99", *HOST],
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_no_compiler_warns_and_cppcheck_finds_nothing(name, tmp_path):
    place(render_network_c(NETS[name]), tmp_path)
    for command in COMPILERS.values():
        assert shutil.which(command[0]), f"{command[0]} is missing; see scripts/packages"
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command[0]}: {done.stderr}"
    done = subprocess.run(
        ["cppcheck", "--std=c99", "--enable=warning,performance,portability,style", "--quiet", "--error-exitcode=1",
         "--suppress=unusedFunction", "network.c"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_header_serves_cpp_and_no_library_is_needed(tmp_path, serves_cpp):
    place(render_network_c(NETS["all"]), tmp_path)
    serves_cpp("network", "float w[NETWORK_WORK], e = 1; return network_selftest(w, &e) == 0 && e == 0 ? 0 : 1;")


def test_sanitizers_find_nothing_and_the_buffer_is_as_large_as_it_says(tmp_path):
    place(render_network_c(NETS["all"]), tmp_path)
    (tmp_path / "main.c").write_text(
        '#include <stdlib.h>\n#include "network.h"\n'
        "int main(void)\n{\n    float *const work = malloc(NETWORK_WORK * sizeof(float));\n"
        "    const int result = network_selftest(work, 0);\n    free(work);\n    return result;\n}\n"
    )
    program = compile_c(
        [tmp_path / "main.c", tmp_path / "network.c"], tmp_path / "main", include=[tmp_path],
        extra=["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"],
    )  # fmt: skip
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_contraction_stays_within_the_tolerance(tmp_path):
    fused = "fma" in Path("/proc/cpuinfo").read_text().split()
    extra = ["-std=gnu99", "-ffp-contract=fast", *(["-mfma"] if fused else [])]
    result, worst = Compiled(NETS["all"], tmp_path, extra).selftest()
    assert result == 0
    assert (worst > 0) == fused


@pytest.mark.parametrize("spoilt", ["weight", "vector"])
def test_selftest_fails_when_a_number_is_corrupt(spoilt, tmp_path):
    files = render_network_c(NETS["policy"])
    table = "weights2[" if spoilt == "weight" else "vector_y["
    head, tail = files["network.c"].split(table, 1)
    at = tail.index("0x1.")
    files["network.c"] = head + table + tail[:at] + "0x1.8p+3f," + tail[tail.index(",", at) + 1 :]
    place(files, tmp_path)
    library = ctypes.CDLL(str(compile_c([tmp_path / "network.c"], tmp_path / "n.so", shared=True)))
    work = np.zeros(64, np.float32)
    assert library.network_selftest(work.ctypes.data_as(FLOAT_P), None) == 1


def test_two_networks_live_in_one_program_and_rendering_is_repeatable(tmp_path):
    texts = {**render_network_c(NETS["odd"], "front"), **render_network_c(NETS["policy"], "back")}
    assert texts == {**render_network_c(NETS["odd"], "front"), **render_network_c(NETS["policy"], "back")}
    place(texts, tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "front.h"\n#include "back.h"\nint main(void)\n{\n    float work[FRONT_WORK + BACK_WORK];\n'
        "    return front_selftest(work, 0) + back_selftest(work, 0);\n}\n"
    )
    program = compile_c([tmp_path / f for f in ("main.c", "front.c", "back.c")], tmp_path / "m", include=[tmp_path])
    assert subprocess.run([program], timeout=60).returncode == 0


def test_what_cannot_be_exported_is_refused():
    with pytest.raises(ExportError, match="cannot begin a C function"):
        render_network_c(NETS["odd"], "3 nets")
    with pytest.raises(ExportError, match="no layers"):
        render_network_c(Network(("a",), (), ("b",)))
    huge = Network(
        ("a",), (Dense(np.float32([[3e38]]), np.float32([0])), Dense(np.float32([[9]]), np.float32([0]))), ("b",)
    )
    with pytest.raises(ExportError, match="not finite for the inputs"):
        render_network_c(huge)
