"""Fixed point, compiled: the bits of the numpy model on this machine, a Cortex-M4F and an ATmega328P, every kernel."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fixed_images import KERNELS, MACHINES, build_image, expected, rows_of, run_image
from benchmarks.fixed_nets import measured_case, random_case
from esmaml_robot.errors import ExportError
from firmware_export.compiler import FLOAT_FLAGS, STRICT_FLAGS, compile_c
from firmware_export.fixed_c import make_vectors, render_fixed_c, write_fixed_c
from firmware_export.fixed_counts import q15
from firmware_export.fixed_model import run
from firmware_export.fixed_plan import Counts, FixedLayer, FixedNetwork
from firmware_export.fixed_policy import clock_counts
from firmware_export.fixed_quantise import quantise
from firmware_export.network import Dense, Network

I16_P = ctypes.POINTER(ctypes.c_int16)


def quantised(case, bits=16):
    return quantise(case.network, case.inputs, case.outputs, case.calibration, bits)


class Compiled:
    """The generated C as a library of this process."""

    def __init__(self, folder, name="fixed", extra=()):
        self.library = ctypes.CDLL(
            str(compile_c([folder / f"{name}.c"], folder / f"{name}.so", include=[folder], shared=True, extra=extra))
        )
        self.infer, self.test = getattr(self.library, f"{name}_infer"), getattr(self.library, f"{name}_selftest")
        self.infer.restype = None
        self.buffer = (ctypes.c_int32 * 1024)(*[-1] * 1024)

    def run(self, counts, outputs):
        out = np.full((len(counts), outputs), 12345, np.int16)
        for row, target in zip(np.ascontiguousarray(counts, np.int16), out, strict=True):
            self.infer(self.buffer, row.ctypes.data_as(I16_P), target.ctypes.data_as(I16_P))
        return out

    def selftest(self):
        return self.test(self.buffer)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bits", [16, 8])
def test_the_host_has_the_bits_of_numpy(seed, bits, tmp_path):
    plan = quantised(random_case(seed), bits)
    write_fixed_c(plan, tmp_path)
    compiled = Compiled(tmp_path)
    counts = rows_of(len(plan.inputs), 2000)
    np.testing.assert_array_equal(compiled.run(counts, len(plan.outputs)), run(plan, counts))
    assert compiled.selftest() == 0
    said = int(re.search(r"(\d+) of buffer", (tmp_path / "fixed.h").read_text())[1])
    assert all(word == -1 for word in compiled.buffer[said // 4 :])  # nothing was written beyond it


#: Odd and even widths, all activations, limits of every sort: what the random cases of these seeds have between them.
SEEDS = (0, 1, 2, 5, 7)


@pytest.mark.parametrize("machine", MACHINES)
def test_an_emulated_chip_has_the_bits_of_numpy(machine, tmp_path):
    plans = {f"net{seed}": quantised(random_case(seed, 12), 8 if seed % 2 else 16) for seed in SEEDS}
    image = build_image(machine, plans, tmp_path, rows=60)
    found = run_image(machine, image)
    assert sorted(found) == sorted(f"{name}_{kernel}" for name in plans for kernel in KERNELS)
    for name, outcome in found.items():
        plan = plans[name.rpartition("_")[0]]
        assert (outcome.selftest, outcome.total) == (0, expected(plan, 60)), name


def widest(weight, bits, low, high):
    """A plan by hand, 256 columns wide, every weight the same, every sum as large as its format allows."""
    columns = 256
    inputs = tuple(Counts(f"x{i}", "", 1.0, 0.0, low, high) for i in range(columns))
    limits = (np.full(2, end, np.int64) for end in (-32768, 32767))
    multiplier = np.array([32767, 1], np.int64)
    layer = FixedLayer(
        0, np.full((2, columns), weight, np.int64), np.array([-(2**20), 2**20]), multiplier, 24, "none", 0, *limits, 1.0
    )
    zero, outputs = np.zeros(columns, np.int64), q15(("a", "b"), [1, 1])
    return FixedNetwork(bits, 15, inputs, zero, zero, (layer,), outputs, np.ones(2), 0.0)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_widest_layer_has_the_bits_of_numpy(machine, tmp_path):
    # an AVR's kernel keeps sums of bytes in 24 bits, which 256 products of 255 x 255 just fit
    plans = {
        "ones": widest(-1, 16, -1, 0),
        "bytes": widest(255, 16, 0, 255),
        "large": widest(32767, 16, -255, 255),
        "low8": widest(-127, 8, -32768, 255),
        "high8": widest(127, 8, -1, 32767),
    }
    folder = tmp_path / machine
    for plan in plans.values():
        plan.check()
    # 8 vectors of 256 counts a network are much for the smaller chip
    groups = [plans] if machine == "cortex_m4f" else [{name: plan} for name, plan in plans.items()]
    found = {}
    for group in groups:
        found |= run_image(machine, build_image(machine, group, folder, 8))
    assert {name: (outcome.selftest, outcome.total) for name, outcome in found.items()} == {
        f"{name}_{kernel}": (0, expected(plan, 8)) for name, plan in plans.items() for kernel in KERNELS
    }


def test_the_kernels_in_assembler_are_there_and_take_the_same_time_always(tmp_path):
    # that both kernels of a machine are the same code would go unnoticed otherwise
    plan = quantised(measured_case("mlp8_32_4"))
    for machine in MACHINES:
        found = run_image(machine, build_image(machine, {"net": plan}, tmp_path / machine, rows=40))
        plain, fast = found["net_plain"], found["net_fast"]
        assert fast.most < 0.65 * plain.least
        assert (
            fast.most - fast.least <= 1
        )  # a tick of the counter is less than an instruction, and seldom ends with one


def test_the_image_notices_one_output_that_differs(tmp_path):
    plan = quantised(random_case(3, 8))
    last = plan.layers[-1]
    other = replace(
        plan,
        layers=(*plan.layers[:-1], replace(last, bias=last.bias + np.eye(1, len(last.bias), dtype=int)[0] * 2**16)),
    )
    assert expected(plan, 60) != expected(other, 60)


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", [*STRICT_FLAGS, *FLOAT_FLAGS]),
        ("gcc", [*STRICT_FLAGS, "-O0", "-m32", "-ffreestanding", "-fsyntax-only"]),
        ("clang", [*STRICT_FLAGS, "-O2"]),
        ("g++", ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]),
        ("arm-none-eabi-gcc", [*STRICT_FLAGS, "-mcpu=cortex-m4", "-mthumb", "-O2"]),
        (
            "arm-none-eabi-gcc",
            [*STRICT_FLAGS, "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-O0"],
        ),
        ("arm-none-eabi-gcc", [*STRICT_FLAGS, "-mcpu=cortex-m4", "-mthumb", "-O1", "-fPIC", "-fno-omit-frame-pointer"]),
        ("arm-none-eabi-gcc", [*STRICT_FLAGS, "-mcpu=cortex-m0", "-mthumb", "-Os"]),
        ("avr-gcc", [*STRICT_FLAGS, "-mmcu=atmega328p", "-Os"]),
        ("avr-gcc", [*STRICT_FLAGS, "-mmcu=atmega2560", "-O2"]),
        ("avr-gcc", [*STRICT_FLAGS, "-mmcu=attiny85", "-Os"]),
    ],
    ids=[
        "gcc",
        "gcc-32-bit",
        "clang",
        "g++",
        "m4",
        "m4-O0",
        "m4-registers-taken",
        "m0",
        "atmega328p",
        "atmega2560",
        "attiny85",
    ],
)
def test_no_compiler_warns(compiler, flags, tmp_path):
    assert shutil.which(compiler), f"{compiler} is missing; scripts/packages tools installs it"
    for seed, bits in ((0, 16), (1, 8), (5, 8)):
        plan = quantised(random_case(seed), bits)
        for file, text in render_fixed_c(plan, f"net{seed}", clock=clock_counts(12), notes=["*/ a note"]).items():
            (tmp_path / file).write_text(text)
        done = subprocess.run(
            [compiler, *flags, "-c", f"net{seed}.c", "-o", "net.o"], cwd=tmp_path, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", [[], ["-D__GNUC__", "-D__ARM_FEATURE_DSP", "-D__thumb2__"]], ids=["plain", "smlad"])
def test_cppcheck_is_content(target, tmp_path):
    for seed, bits in ((0, 16), (1, 8), (5, 16)):
        write_fixed_c(quantised(random_case(seed), bits), tmp_path, f"net{seed}")
    done = subprocess.run(
        ["cppcheck", "--std=c99", "--enable=warning,performance,portability,style", "--quiet", "--error-exitcode=1",
         *target, *map(str, tmp_path.glob("*.c"))],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_sanitizers_find_nothing(tmp_path):
    for seed, bits in ((0, 16), (1, 8)):
        plan = quantised(random_case(seed), bits)
        write_fixed_c(plan, tmp_path, f"net{seed}")
        rows = rows_of(len(plan.inputs), 400)
        table = ", ".join(str(v) for v in rows.ravel())
        (tmp_path / "main.c").write_text(
            f'#include "net{seed}.h"\nstatic const short rows[] = {{{table}}};\n'
            f"int main(void)\n{{\n    static net{seed}_buffer buffer;\n    int16_t y[NET{seed}_OUTPUTS];\n    int i;\n"
            f"    for (i = 0; i < 400; i++) net{seed}_infer(&buffer, rows + i * NET{seed}_INPUTS, y);\n"
            f"    return net{seed}_selftest(&buffer);\n}}\n"
        )
        program = compile_c(
            [tmp_path / "main.c", tmp_path / f"net{seed}.c"],
            tmp_path / "main",
            include=[tmp_path],
            extra=["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"],
        )
        done = subprocess.run([program], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def spoil(folder, array, by):
    """What the selftest says when one number of an array in fixed.c is changed."""
    name = f"spoilt_{array}_{by}"  # a library that was loaded once is not loaded again under its name
    text, header = ((folder / f"fixed.{end}").read_text() for end in "ch")
    found = re.search(rf"\b{array}\[[^\]]+\] ROM = \{{\s*(-?\d+)", text)
    start, end = found.span(1)
    for file, content in ((f"{name}.c", f"{text[:start]}{int(found[1]) + by}{text[end:]}"), (f"{name}.h", header)):
        (folder / file).write_text(content.replace("fixed", name))
    return Compiled(folder, name).selftest()


def test_selftest_notices_wrong_constants(tmp_path):
    write_fixed_c(quantised(measured_case("mlp8_32_4")), tmp_path)
    assert Compiled(tmp_path).selftest() == 0
    assert spoil(tmp_path, "weights_0", 3000) == 3
    assert spoil(tmp_path, "weights_0", 1) >= 2  # too small for the vectors, perhaps, and not for the checksum
    assert spoil(tmp_path, "bias_1", 2**27) == 3
    assert spoil(tmp_path, "multiplier_1", 1) == 3
    assert spoil(tmp_path, "tanh_ends", 1) >= 2
    assert spoil(tmp_path, "vector_commands", 1) == 1


def test_header_has_the_contract_and_serves_cpp(tmp_path, serves_cpp):
    inputs = (
        Counts("angle", "*/ rad", 0.001, -0.5, 0, 1000),
        Counts("wide", "V", 0.0001, 0.0, -32768, 32767, origin=32768),
    )
    network = Network(("angle", "wide"), (Dense(np.ones((1, 2), np.float32), np.zeros(1, np.float32)),), ("y",))
    outputs = (Counts("servo", "us", 0.001, 0.0, -200, 300),)
    rows = np.stack([np.linspace(-0.5, 0.5, 100), np.zeros(100)], axis=1)
    plan = quantise(network, inputs, outputs, rows)
    write_fixed_c(plan, tmp_path)
    text = (tmp_path / "fixed.h").read_text()
    for wanted in ("* / rad = 0.001 * count -0.5, 0 .. 1000", "count = what the pin gives - 32768", "-200 .. 300",
                   plan.fixed_hash, *plan.describe()):  # fmt: skip
        assert wanted in text
    serves_cpp("fixed", "fixed_buffer b; return fixed_selftest(&b);")


def test_vectors_drive_the_first_layer_to_its_ends():
    plan = quantised(measured_case("lin28x8"))
    counts, commands = make_vectors(plan, 16)
    assert counts.shape == (16, 28)
    np.testing.assert_array_equal(commands, run(plan, counts))
    reached = (counts.astype(np.int64) @ plan.layers[0].weight.T + plan.layers[0].bias).max()
    assert reached > 0.95 * plan.accumulators()[0][1][:4].max()
    with pytest.raises(ExportError, match="at least 8"):
        make_vectors(plan, 7)


def test_names_that_c_would_not_take_are_refused(tmp_path):
    with pytest.raises(ExportError, match="cannot begin a C function"):
        write_fixed_c(quantised(measured_case("lin28x8")), tmp_path, "2fast")
