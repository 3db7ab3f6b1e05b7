"""policy.c, compiled: the same bits as numpy, a selftest that fails when it should, and no compiler that complains."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.inference.nets import Net
from esmaml_robot import directions
from esmaml_robot.errors import ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicyBatch, PolicySpec, initial_theta
from esmaml_robot.robot_spec import RobotSpec, load_robot
from firmware_export.build import RUNTIME
from firmware_export.compiler import FLOAT_FLAGS, STRICT_FLAGS, compile_c
from firmware_export.network import Dense, Network
from firmware_export.policy_c import render_policy_c, write_policy_c
from firmware_export.reference import random_memory, random_sensors, reference_of
from firmware_export.report_sources import EXACT, Sources
from firmware_export.report_targets import TARGETS, run_image

FLOAT_P = ctypes.POINTER(ctypes.c_float)

ARM = {
    "format": 1,
    "name": "arm",
    "control_rate_hz": 300,  # does not divide 1,000,000
    "physics_rate_hz": 300,
    "episode": {"steps": 10, "reset": "self"},
    "watchdog": {"hold_ms": 20, "release_ms": 40},
    "sensors": [
        {"name": "angle", "unit": "*/ #error", "source": "a", "counts": [0, 4095], "scale": 0.0015, "offset": -3.1,
         "range": [-3.1, 2.9], "observed": True},
        {"name": "hidden", "unit": "V", "source": "b", "counts": [0, 1023], "scale": 0.005, "range": [0, 5],
         "observed": False},
        {"name": "current", "unit": "/*A", "source": "c", "counts": [-2048, 2047], "scale": 0.0123, "range": [-20, 25],
         "observed": True},
        {"name": "speed", "unit": "\N{DEGREE SIGN}/s??/", "source": "d", "counts": [-32768, 32767], "scale": 0.1,
         "range": [-1000, 1000], "observed": True},
    ],
    "actuators": [
        {"name": f"servo_{i}", "unit": "us", "sink": f"pwm.{i}", "counts": [0, 4000], "scale": 1.0, "offset": 0.25,
         "range": [900 + 10 * i, 2100.7], "rate_limit": 5000, "hold": "last", "safe": 1500}
        for i in range(4)
    ],
    "reward": {"terms": [{"kind": "constant", "weight": 1.0}]},
}  # fmt: skip

SPECS = {"rover": load_robot("rover_uno"), "arm": RobotSpec.model_validate(ARM)}
CASES = [
    pytest.param(
        robot, hidden, normalise, id="-".join([robot, *map(str, hidden), "normalised" if normalise else "raw"])
    )
    for robot, hidden in (("rover", ()), ("rover", (8,)), ("arm", (16, 16)), ("arm", ()), ("rover", (4, 9, 3)))
    for normalise in (False, True)
]
RANK_2 = {"layers": "low_displacement", "displacement_rank": 2}
WHOLE = {"clock_steps": 24, "action_filter": 0.3}
KINDS = [
    {"activation": "relu"},
    {"layers": "toeplitz"},
    RANK_2,
    {"clock_steps": 24},
    {"action_filter": 0.3},
    {"activation": "relu", "layers": "toeplitz", **WHOLE},
    {**RANK_2, **WHOLE},
]
KIND_NAMES = ["relu", "toeplitz", "rank-2", "clock", "filter", "relu-toeplitz-memory", "rank-2-memory"]


def make_policy(robot, hidden, normalise, scale=1.0, **kind):
    spec = SPECS[robot]
    n = len(spec.observed)
    layout = PolicySpec(inputs=n, outputs=len(spec.actuators), hidden=hidden, **kind)
    theta = directions.directions([17], layout.dimension)[0] * np.float32(scale)
    normaliser = Normaliser.identity(n)
    if normalise:
        u = directions.uniforms(3, 2 * n)
        normaliser = Normaliser((u[:n] - 0.5).astype(np.float32), (0.5 + 40 * u[n:]).astype(np.float32))
    return Policy(layout, theta, normaliser), spec


def vectors_net(x, inputs, outputs):
    """Inputs for the benchmark's chips; the network itself is not asked."""
    zeros = Dense(np.zeros((len(outputs), len(inputs)), np.float32), np.zeros(len(outputs), np.float32))
    return Net("vectors", Network(tuple(inputs), (zeros,), tuple(outputs)), None, x, np.zeros((len(x), len(outputs))))


class Compiled:
    """The generated C as a library of this process."""

    def __init__(self, folder, outputs, source="policy.c"):
        self.library = ctypes.CDLL(
            str(compile_c([folder / source], folder / f"{source}.so", include=[folder], shared=True))
        )
        for name in ("policy_reset", "policy_forward", "policy_act"):
            getattr(self.library, name).restype = None
        self.library.policy_selftest.restype = ctypes.c_int
        fields = [("tick", ctypes.c_uint16), ("action", ctypes.c_float * outputs)]
        self.state = type("State", (ctypes.Structure,), {"_fields_": fields})(65535, (7.0,) * outputs)
        self.library.policy_reset(ctypes.byref(self.state))
        assert (self.state.tick, list(self.state.action)) == (0, [0.0] * outputs)

    def rows(self, function, rows, memory=None):
        """Each row with a state of its own: that of `memory`, or the one that an episode begins with."""
        out = np.full((len(rows), len(self.state.action)), 77, np.float32)
        for at, (row, target) in enumerate(zip(np.ascontiguousarray(rows), out, strict=True)):
            self.library.policy_reset(ctypes.byref(self.state))
            if memory is not None:
                self.state.tick = int(memory.ticks[at])
                self.state.action[:] = memory.previous[at].tolist()
            function(ctypes.byref(self.state), row.ctypes.data_as(FLOAT_P), target.ctypes.data_as(FLOAT_P))
        return out

    def forward(self, theta, observations, memory=None):
        theta = np.ascontiguousarray(theta)
        parameters = theta.ctypes.data_as(FLOAT_P)
        return self.rows(lambda s, x, y: self.library.policy_forward(parameters, s, x, y), observations, memory)

    def act(self, sensors, memory=None):
        return self.rows(self.library.policy_act, sensors, memory)

    def episode(self, theta, observations):
        """Consecutive control periods from the start of an episode."""
        out = np.full((len(observations), len(self.state.action)), 77, np.float32)
        parameters = theta.ctypes.data_as(FLOAT_P)
        self.library.policy_reset(ctypes.byref(self.state))
        for row, target in zip(np.ascontiguousarray(observations), out, strict=True):
            x, y = row.ctypes.data_as(FLOAT_P), target.ctypes.data_as(FLOAT_P)
            self.library.policy_forward(parameters, ctypes.byref(self.state), x, y)
        return out

    def selftest(self):
        worst = ctypes.c_float(-1)
        return self.library.policy_selftest(ctypes.byref(worst)), worst.value


def observations_of(n):
    """10,000 observations: random, the ends, their neighbours, zeros of both signs, denormals, and beyond the range."""
    x = (2 * directions.uniforms(9, 10000 * n).reshape(-1, n) - 1).astype(np.float32)
    special = np.array(
        [-1, 1, 0, -0.0, np.nextafter(np.float32(1), np.float32(0)), 1e-45, -1e-38, 3, -1e6, np.inf, -np.inf],
        np.float32,
    )
    picks = (directions.uniforms(10, 1000 * n) * len(special)).astype(int)
    x[:1000] = special[picks].reshape(1000, n)
    return x


@pytest.mark.parametrize(("robot", "hidden", "normalise"), CASES)
def test_compiled_policy_has_the_bits_of_numpy(robot, hidden, normalise, tmp_path):
    policy, spec = make_policy(robot, hidden, normalise)
    write_policy_c(policy, spec, tmp_path)
    compiled = Compiled(tmp_path, policy.spec.outputs)

    x = observations_of(policy.spec.inputs)
    with np.errstate(invalid="ignore"):
        expected = policy.act(x)
    got = compiled.forward(policy.theta, x)
    # infinities of both signs may add up to NaN, whose bits no standard fixes; everything else must be the same bits
    sound = np.isfinite(x).all(axis=1) | normalise
    assert sound.sum() > 9000
    assert np.isfinite(expected[sound]).all()
    assert got[sound].tobytes() == expected[sound].tobytes()
    np.testing.assert_array_equal(got, expected)
    assert (np.abs(expected[sound]) < 1).any()

    other = directions.directions([18], policy.spec.dimension)[0]  # other parameters than the ones in the file
    expected = Policy(policy.spec, other, policy.normaliser).act(x[1000:])
    assert compiled.forward(other, x[1000:]).tobytes() == expected.tobytes()

    sensors = random_sensors(spec, 10000, seed=4)
    expected = reference_of(policy, spec).actuators(sensors)
    assert compiled.act(sensors).tobytes() == expected.tobytes()

    assert compiled.selftest() == (0, 0.0)
    assert compiled.library.policy_selftest(None) == 0


def specs(inputs, outputs):
    kinds = [{}, {"layers": "toeplitz"}, {"layers": "low_displacement", "displacement_rank": 1}, RANK_2]
    return st.builds(
        lambda kind, **rest: PolicySpec(inputs=inputs, outputs=outputs, **kind, **rest),
        kind=st.sampled_from(kinds),
        hidden=st.lists(st.integers(1, 20), max_size=3).map(tuple),
        activation=st.sampled_from(["tanh", "relu"]),
        clock_steps=st.none() | st.integers(2, 60),
        action_filter=st.none() | st.floats(0.01, 0.99),
    )


@settings(max_examples=25, deadline=None)
@given(st.data(), st.sampled_from(["rover", "arm"]), st.booleans(), st.integers(0, 2**31))
def test_every_kind_of_policy_has_the_bits_of_numpy(data, robot, normalise, seed):
    spec = SPECS[robot]
    layout = data.draw(specs(len(spec.observed), len(spec.actuators)))
    normaliser = make_policy(robot, (), normalise)[0].normaliser
    policy = Policy(layout, initial_theta(layout, "scaled", 1.0, seed), normaliser)
    with tempfile.TemporaryDirectory() as folder:
        write_policy_c(policy, spec, Path(folder))
        compiled = Compiled(Path(folder), layout.outputs)
    memory = random_memory(layout, 300, seed)
    x = observations_of(layout.inputs)[-300:]
    expected = policy.act(x, memory.ticks, memory.previous)
    assert compiled.forward(policy.theta, x, memory).tobytes() == expected.tobytes()

    sensors = random_sensors(spec, 300, seed)
    expected = reference_of(policy, spec).actuators(sensors, memory)
    assert compiled.act(sensors, memory).tobytes() == expected.tobytes()

    other = directions.directions([seed], layout.dimension)[0]  # as they come over the line: flat, compact
    batch = PolicyBatch(layout, other[None], normaliser)
    expected = np.stack([batch.act(row[:, None], tick)[:, 0] for tick, row in enumerate(x[:130])])
    assert compiled.episode(other, x[:130]).tobytes() == expected.tobytes()
    assert compiled.selftest() == (0, 0.0)


@pytest.mark.parametrize("kind", KINDS, ids=KIND_NAMES)
def test_saturated_and_extreme_inputs_of_every_kind_have_the_bits_of_numpy(kind, tmp_path):
    policy, spec = make_policy("arm", (16, 9), True, scale=0.5, **kind)
    write_policy_c(policy, spec, tmp_path)
    compiled = Compiled(tmp_path, policy.spec.outputs)
    x = observations_of(policy.spec.inputs)[:3000]
    memory = random_memory(policy.spec, len(x), 1)
    expected = policy.act(x, memory.ticks, memory.previous)
    assert np.isfinite(expected).all()
    assert compiled.forward(policy.theta, x, memory).tobytes() == expected.tobytes()


def test_a_clock_beyond_its_table_begins_anew(tmp_path):
    policy, spec = make_policy("rover", (8,), False, clock_steps=24)
    write_policy_c(policy, spec, tmp_path)
    compiled = Compiled(tmp_path, 2)
    compiled.state.tick = 65535
    x, y = np.zeros(2, np.float32), np.zeros(2, np.float32)
    parameters = policy.theta.ctypes.data_as(FLOAT_P)
    compiled.library.policy_forward(
        parameters, ctypes.byref(compiled.state), x.ctypes.data_as(FLOAT_P), y.ctypes.data_as(FLOAT_P)
    )
    assert compiled.state.tick == 1
    assert y.tobytes() == policy.act(x[None], 0).tobytes()


def test_selftest_goes_around_the_clock(tmp_path):
    policy, spec = make_policy("rover", (8,), False, scale=0.5, clock_steps=16)
    write_policy_c(policy, spec, tmp_path)
    text = (tmp_path / "policy.c").read_text()
    table = re.search(r"clock_sine\[POLICY_CLOCK_STEPS\] ROM = \{(.*?)\};", text, re.DOTALL)
    assert table
    for entry in (0, 9, 15):
        spans = [m.span() for m in re.finditer(r"-?0x[0-9a-f.]+p[+-]\d+f", table[1])]
        assert len(spans) == 16
        start, end = (table.start(1) + at for at in spans[entry])
        (tmp_path / f"spoilt{entry}.c").write_text(f"{text[:start]}0.7f{text[end:]}")
        assert Compiled(tmp_path, 2, f"spoilt{entry}.c").selftest()[0] == 1


def test_nan_stays_in_the_filter_until_the_next_episode(tmp_path):
    policy, spec = make_policy("rover", (8,), False, action_filter=0.3)
    write_policy_c(policy, spec, tmp_path)
    compiled = Compiled(tmp_path, 2)
    x = np.zeros((4, 2), np.float32)
    x[1] = np.nan
    assert np.isnan(compiled.episode(policy.theta, x)).tolist() == [[False] * 2, *[[True] * 2] * 3]
    assert np.isfinite(compiled.episode(policy.theta, x[:1])).all()


def test_parameters_in_the_file_are_exact(tmp_path):
    policy, spec = make_policy("arm", (16, 16), False)
    theta = policy.theta.copy()
    theta[:6] = [0.0, -0.0, 1e-45, -1.1754942e-38, 0.1, 16777216.0]
    policy = Policy(policy.spec, theta, Normaliser.identity(policy.spec.inputs))
    write_policy_c(policy, spec, tmp_path)
    stored = (ctypes.c_float * policy.spec.dimension).in_dll(
        Compiled(tmp_path, policy.spec.outputs).library, "policy_parameters"
    )
    assert np.frombuffer(stored, np.float32).tobytes() == theta.tobytes()
    macro = re.search(r"POLICY_PARAMETERS_CRC32 (0x[0-9a-f]{8})", (tmp_path / "policy.h").read_text())
    assert int(macro[1], 16) == zlib.crc32(theta.tobytes())


def test_nan_goes_through_to_every_output(tmp_path):
    policy, spec = make_policy("rover", (8,), True)
    write_policy_c(policy, spec, tmp_path)
    compiled = Compiled(tmp_path, policy.spec.outputs)
    sensors = np.array([[np.nan, 0.5], [0.5, np.nan]], np.float32)
    assert np.isnan(compiled.act(sensors)).all()


def corrupt(folder, index, value):
    """policy.c with one parameter replaced, as another file."""
    text = (folder / "policy.c").read_text()
    head, rest = text.split("policy_parameters[POLICY_PARAMETERS] ROM = {", 1)
    table, tail = rest.split("};", 1)
    spans = [m.span() for m in re.finditer(r"-?0x[0-9a-f.]+p[+-]\d+f", table)]
    start, end = spans[index]
    assert table[start:end] != value
    name = f"corrupt_{index}_{abs(hash(value))}.c"
    (folder / name).write_text(
        f"{head}policy_parameters[POLICY_PARAMETERS] ROM = {{{table[:start]}{value}{table[end:]}}};{tail}"
    )
    return name


@pytest.mark.parametrize("index", [0, 15, 16, 23, 24, 39, 40, 41])
def test_selftest_fails_when_a_weight_is_corrupt(index, tmp_path):
    policy, spec = make_policy("rover", (8,), False, scale=0.5)
    write_policy_c(policy, spec, tmp_path)
    value = float(policy.theta[index]) + 0.5
    result, worst = Compiled(tmp_path, 2, corrupt(tmp_path, index, f"{value.hex()}f")).selftest()
    assert result == 3  # missed by the vectors and by the checksum
    assert worst > 1e-5


def test_selftest_notices_one_flipped_bit_that_no_vector_can_see(tmp_path):
    policy, spec = make_policy("rover", (8,), False, scale=0.5)
    write_policy_c(policy, spec, tmp_path)
    flipped = np.array([policy.theta[3].view(np.uint32) ^ np.uint32(1)]).view(np.float32)[0]
    result, worst = Compiled(tmp_path, 2, corrupt(tmp_path, 3, f"{float(flipped).hex()}f")).selftest()
    assert result == 2
    assert worst <= 1e-5


def test_selftest_fails_for_nan_and_keeps_it(tmp_path):
    policy, spec = make_policy("rover", (8,), False)
    write_policy_c(policy, spec, tmp_path)
    result, worst = Compiled(tmp_path, 2, corrupt(tmp_path, 0, "(0.0f / 0.0f)")).selftest()
    assert result == 3
    assert np.isnan(worst)


def test_selftest_does_not_forget_a_nan_when_later_vectors_are_sound(tmp_path):
    write_policy_c(*make_policy("rover", (8,), False), tmp_path)
    text = (tmp_path / "policy.c").read_text()
    spoilt, count = re.subn(r"(vector_actuators\[.*?\] ROM = \{\s*\{\s*)[^,]+", r"\g<1>(0.0f / 0.0f)", text, count=1)
    assert count == 1
    (tmp_path / "spoilt.c").write_text(spoilt)
    result, worst = Compiled(tmp_path, 2, "spoilt.c").selftest()
    assert result == 1
    assert np.isnan(worst)


def test_saturated_policy_still_has_telling_vectors(tmp_path):
    # outputs of a policy with large weights are clipped nearly everywhere; vectors are chosen where they are not
    policy, spec = make_policy("rover", (8,), False, scale=3.0)
    write_policy_c(policy, spec, tmp_path)
    changed = float(policy.theta[30]) * 1.01
    result, _ = Compiled(tmp_path, 2, corrupt(tmp_path, 30, f"{float(np.float32(changed)).hex()}f")).selftest()
    assert result == 3


@pytest.mark.parametrize(
    ("robot", "hidden", "normalise", "kind"),
    [
        *(pytest.param(*case.values, {}, id=case.id) for case in CASES),
        *(pytest.param("arm", (5,), False, kind, id=name) for kind, name in zip(KINDS, KIND_NAMES, strict=True)),
        *(
            pytest.param("rover", (), True, kind, id=f"linear-{name}")
            for kind, name in zip(KINDS, KIND_NAMES, strict=True)
        ),
    ],
)
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        ("gcc", [*STRICT_FLAGS, *FLOAT_FLAGS]),
        ("gcc", [*STRICT_FLAGS, "-O0", "-m32", "-fsyntax-only"]),
        ("g++", ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]),
    ],
    ids=["c99", "c99-32-bit", "c++17"],
)
def test_no_compiler_warns(robot, hidden, normalise, kind, compiler, flags, tmp_path):
    assert shutil.which(compiler), f"{compiler} is missing; on Debian: sudo apt install {compiler}"
    write_policy_c(*make_policy(robot, hidden, normalise, **kind), tmp_path)
    if "-m32" in flags:  # the header of the 32-bit C library may be absent: only <stdint.h> of the compiler is needed
        flags = [*flags, "-ffreestanding"]
    done = subprocess.run(
        [compiler, *flags, "-c", "policy.c", "-o", "policy.o"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", [{}, KINDS[-2], KINDS[-1]], ids=["plain", *KIND_NAMES[-2:]])
def test_header_serves_cpp_and_needs_no_libm(kind, tmp_path, serves_cpp):
    write_policy_c(*make_policy("rover", (8,), True, **kind), tmp_path)
    serves_cpp("policy", "float e = 1.0f; return policy_selftest(&e) == 0 && e <= POLICY_TOLERANCE ? 0 : 1;")


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@pytest.mark.parametrize("kind", [{}, KINDS[-2]], ids=["dense", KIND_NAMES[-2]])
def test_chips_give_the_bits_of_numpy(kind, target, tmp_path):
    # 3-16-9-4: rows and inputs that do and do not come in fours
    policy, spec = make_policy("arm", (16, 9), True, scale=0.4, **kind)
    x = observations_of(3)[980:1040]
    x = x[np.isfinite(x).all(axis=1)]
    names = [list(map(str, range(n))) for n in (3, 4)]
    adapter = (
        '#include "bench.h"\n#include "policy.h"\n#include "rom.h"\nstatic float parameters[POLICY_PARAMETERS];\n'
        "void bench_prepare(void)\n{\n    int i;\n    for (i = 0; i < POLICY_PARAMETERS; i++) {\n"
        "        parameters[i] = rom_f32(&policy_parameters[i]);\n    }\n}\n"
        "void bench_infer(const bench_input *x, bench_output *y)\n{\n    struct policy_state state;\n"
        "    policy_reset(&state);\n    policy_forward(parameters, &state, x, y);\n}\n"
    )
    flags = (*EXACT, "-DESMAML_FIRMWARE", f"-I{RUNTIME}", *STRICT_FLAGS)
    sources = Sources(render_policy_c(policy, spec, 8), adapter, flags=flags)
    run, _ = run_image(target, vectors_net(x, *names), sources, tmp_path)
    assert run.outputs.tobytes() == policy.act(x).tobytes()


M4F = ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16"]
CROSS = {
    "cortex-m4f": ["arm-none-eabi-gcc", *M4F, "-mfloat-abi=hard", "-O2"],
    "cortex-m4f-O0": ["arm-none-eabi-gcc", *M4F, "-mfloat-abi=softfp", "-O0"],
    "cortex-m0": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb", "-Os"],
    "avr": ["avr-gcc", "-mmcu=atmega328p", "-Os"],
    "clang": ["clang", "-O2"],
}  # fmt: skip


@pytest.mark.parametrize("compiler", CROSS)
@pytest.mark.parametrize("kind", [{}, *KINDS[:3], KINDS[-2]], ids=["dense", *KIND_NAMES[:3], KIND_NAMES[-2]])
def test_no_cross_compiler_warns(kind, compiler, tmp_path):
    write_policy_c(*make_policy("arm", (9, 4), True, **kind), tmp_path)
    assert shutil.which(CROSS[compiler][0]), f"{CROSS[compiler][0]} is missing; see scripts/packages"
    done = subprocess.run(
        [*CROSS[compiler], *STRICT_FLAGS, "-c", "policy.c", "-o", "policy.o"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_fast_math_is_refused(tmp_path):
    write_policy_c(*make_policy("rover", (), False), tmp_path)
    with pytest.raises(ExportError, match="fast-math"):
        compile_c([tmp_path / "policy.c"], tmp_path / "x.so", shared=True, extra=["-ffast-math"])


def test_contraction_stays_within_the_tolerance(tmp_path):
    # a project that allows fused multiply-add: not bit-equal, and still accepted by the selftest
    fused = "fma" in Path("/proc/cpuinfo").read_text().split()
    write_policy_c(*make_policy("arm", (16, 16), True, scale=0.3), tmp_path)
    extra = ["-std=gnu99", "-ffp-contract=fast", *(["-mfma"] if fused else [])]
    library = ctypes.CDLL(str(compile_c([tmp_path / "policy.c"], tmp_path / "fma.so", shared=True, extra=extra)))
    worst = ctypes.c_float(-1)
    assert library.policy_selftest(ctypes.byref(worst)) == 0
    assert worst.value <= 1e-5
    assert (worst.value > 0) == fused


@pytest.mark.parametrize("kind", [{}, KINDS[-2], KINDS[-1]], ids=["plain", *KIND_NAMES[-2:]])
def test_sanitizers_find_nothing(kind, tmp_path):
    policy, spec = make_policy("arm", (16, 16), True, **kind)
    write_policy_c(policy, spec, tmp_path)
    (tmp_path / "main.c").write_text('#include "policy.h"\nint main(void) { return policy_selftest(0); }\n')
    program = compile_c(
        [tmp_path / "main.c", tmp_path / "policy.c"],
        tmp_path / "main",
        include=[tmp_path],
        extra=["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"],
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_layout_that_does_not_fit_the_robot_is_refused(tmp_path):
    policy, _ = make_policy("rover", (8,), False)
    with pytest.raises(ExportError, match="2 inputs, robot 'arm' has 3 observed sensors"):
        write_policy_c(policy, SPECS["arm"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_policy_whose_sums_overflow_is_refused(tmp_path):
    spec = PolicySpec(inputs=2, outputs=2, hidden=())
    theta = np.array([3e38, -3e38, 0, 0, 0, 0], np.float32)
    write_policy_c(Policy(spec, theta, Normaliser.identity(spec.inputs)), SPECS["rover"], tmp_path / "bounded")
    wide = Normaliser(np.zeros(2, np.float32), np.full(2, 10, np.float32))  # infinity minus infinity
    with pytest.raises(ExportError, match="not finite"):
        write_policy_c(Policy(spec, theta, wide), SPECS["rover"], tmp_path / "overflowing")
    assert not (tmp_path / "overflowing").exists()
