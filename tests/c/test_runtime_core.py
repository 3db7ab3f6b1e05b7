"""The runtime's parts that know neither robot nor link: frames, directions, parameters, the safety table."""

import ctypes
import subprocess
import zlib

import numpy as np
import pytest

from esmaml_robot import directions
from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.framing import FrameDecoder, crc16, encode_frame
from esmaml_robot.bridge.messages import Result, State
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
POLICY = PolicySpec(inputs=2, outputs=2, hidden=(8,))
D = POLICY.dimension
NO_INDEX = 2**32 - 1


def rebuilt(base, seed, sigma):
    """What the controller makes of (seed, sigma), made here."""
    one = Proposals(base, np.array([seed], np.uint32), np.array([sigma], np.float32), np.zeros(1, np.uint32))
    return materialise([one])[0]


# what a test needs to see of structs whose layout Python need not know
GLUE = """
#include <stddef.h>
#include "bridge.h"
#include "directions.h"
#include "params.h"
struct bridge_receiver receiver;
struct params params;
void receiver_reset(void) { static const struct bridge_receiver zero; receiver = zero; }
uint32_t receiver_bad(void) { return receiver.bad; }
size_t feed(const uint8_t *data, size_t n, uint8_t *out, size_t *lengths)
{
    size_t i, k, frames = 0, at = 0;
    for (i = 0; i < n; i++) {
        const size_t length = bridge_receive(&receiver, data[i]);
        if (length > 0) {
            for (k = 0; k < length; k++) { out[at + k] = receiver.buffer[k]; }
            at += length;
            lengths[frames++] = length;
        }
    }
    return frames;
}
void draw(uint32_t seed, uint32_t n, float *out)
{
    struct direction d;
    uint32_t i;
    direction_start(&d, seed);
    for (i = 0; i < n; i++) { out[i] = direction_element(&d, i); }
}
void draw_backwards(uint32_t seed, uint32_t n, float *out)
{
    struct direction d;
    direction_start(&d, seed);
    while (n-- > 0) { out[n] = direction_element(&d, n); }
}
void normals(const uint32_t *bits, size_t n, float *out)
{
    size_t i;
    for (i = 0; i < n; i++) { out[i] = direction_normal(bits[i]); }
}
float *base(void) { return params.base; }
float *candidate(void) { return params.candidate; }
uint32_t base_crc(void) { return params.base_crc; }
static uint32_t detail;
uint32_t last_detail(void) { return detail; }
static int see(struct params_outcome o) { detail = o.detail; return o.result; }
int p_init(void) { return see(params_init(&params)); }
int p_begin(uint32_t count, uint32_t crc) { return see(params_begin(&params, count, crc)); }
int p_chunk(uint32_t at, uint8_t used, const float *v) { return see(params_chunk(&params, at, used, v)); }
int p_end(void) { return see(params_end(&params)); }
int p_candidate(uint32_t seed, float sigma) { return see(params_candidate(&params, seed, sigma)); }
int p_commit(uint32_t seed, float sigma, uint32_t crc) { return see(params_commit(&params, seed, sigma, crc)); }
"""


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    write_policy_c(
        Policy(POLICY, np.linspace(-1, 1, D, dtype=np.float32), Normaliser.identity(POLICY.inputs)), SPEC, folder
    )
    write_robot_c(SPEC, folder)
    (folder / "glue.c").write_text(GLUE)
    sources = [RUNTIME / f"{name}.c" for name in ("bridge", "crc32", "directions", "params", "safety")]
    sources += [folder / "policy.c", folder / "glue.c"]
    out = folder / "core.so"
    subprocess.run(
        ["cc", "-std=c99", "-O2", "-ffp-contract=off", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all",
         "-shared", "-fPIC", f"-I{RUNTIME}", f"-I{folder}", *map(str, sources), "-o", str(out)],
        check=True,
    )  # fmt: skip
    library = ctypes.CDLL(str(out))
    for name in ("feed", "bridge_frame"):
        getattr(library, name).restype = ctypes.c_size_t
    for name in ("receiver_bad", "base_crc", "last_detail"):
        getattr(library, name).restype = ctypes.c_uint32
    for name in ("base", "candidate"):
        getattr(library, name).restype = ctypes.POINTER(ctypes.c_float)
    library.bridge_crc16.restype = ctypes.c_uint16
    library.safety_next.restype = ctypes.c_uint8
    for name in ("p_candidate", "p_commit"):
        getattr(library, name).argtypes = [ctypes.c_uint32, ctypes.c_float, ctypes.c_uint32][
            : 3 if "com" in name else 2
        ]
    return library


def floats(values) -> ctypes.Array:
    return (ctypes.c_float * len(values))(*values)


def out_floats(n: int) -> np.ndarray:
    return np.zeros(n, dtype=np.float32)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


# ---- bridge.c ----


def c_feed(lib, data: bytes) -> list[bytes]:
    out = ctypes.create_string_buffer(len(data) + 1)
    lengths = (ctypes.c_size_t * (len(data) + 1))()
    frames, at, found = lib.feed(data, ctypes.c_size_t(len(data)), out, lengths), 0, []
    for k in range(frames):
        found.append(out.raw[at : at + lengths[k]])
        at += lengths[k]
    return found


def payloads(rng: np.random.Generator, count: int) -> list[bytes]:
    made = [bytes(n) for n in (1, 249, 250)] + [b"\xff" * n for n in (1, 250)]
    for _ in range(count):
        values = rng.integers(0, 256, rng.integers(1, 251))
        values[rng.random(len(values)) < rng.random()] = 0
        made.append(values.astype(np.uint8).tobytes())
    return made


def test_crc(lib):
    assert lib.bridge_crc16(b"123456789", ctypes.c_size_t(9)) == 0x29B1
    for payload in payloads(np.random.default_rng(0), 100):
        assert lib.bridge_crc16(payload, ctypes.c_size_t(len(payload))) == crc16(payload)


def test_frames_have_the_same_bytes_as_in_python(lib):
    out = ctypes.create_string_buffer(254)
    for payload in payloads(np.random.default_rng(1), 500):
        n = lib.bridge_frame(payload, ctypes.c_size_t(len(payload)), out)
        assert out.raw[:n] == encode_frame(payload)
    assert lib.bridge_frame(bytes(251), ctypes.c_size_t(251), out) == 0
    assert lib.bridge_frame(b"", ctypes.c_size_t(0), out) == 0


def test_both_receivers_take_the_same_frames_out_of_a_damaged_stream(lib):
    rng = np.random.default_rng(2)
    stream = bytearray(b"".join(encode_frame(p) for p in payloads(rng, 300)))
    for at in rng.integers(0, len(stream), len(stream) // 300):
        stream[at] = rng.integers(0, 256)
    stream += b"\x07" * 1000 + b"\0" + encode_frame(b"last")
    lib.receiver_reset()
    decoder = FrameDecoder()
    ours = decoder.feed(bytes(stream))
    assert c_feed(lib, bytes(stream)) == ours
    assert ours[-1] == b"last"
    assert lib.receiver_bad() == decoder.bad > 20
    assert len(ours) > 100


# ---- directions.c ----


def test_directions_are_bit_equal_to_numpy(lib):
    for seed, n in ((0, 60_000), (0xFFFFFFFF, 30_000), (123456789, 10_001), (7, 1)):
        out = out_floats(n)
        lib.draw(ctypes.c_uint32(seed), ctypes.c_uint32(n), pointer(out))
        assert out.tobytes() == directions.directions([seed], n)[0].tobytes()


def test_an_element_does_not_depend_on_the_order_of_asking(lib):
    out = out_floats(101)
    lib.draw_backwards(ctypes.c_uint32(5), ctypes.c_uint32(101), pointer(out))
    assert out.tobytes() == directions.directions([5], 101)[0].tobytes()


def test_every_octave_and_cell_of_the_table_is_bit_equal(lib):
    edges = [(1 << k) + d for k in range(31) for d in range(-2, 3)] + [
        (1 << k) * c // 16 for k in range(30) for c in range(16, 32)
    ]
    bits = np.array([s | (e & 0x7FFFFFFF) for e in edges for s in (0, 1 << 31)], dtype=np.uint32)
    out = out_floats(len(bits))
    lib.normals(pointer(bits), ctypes.c_size_t(len(bits)), pointer(out))
    assert out.tobytes() == directions._normal_from_bits(bits).tobytes()


# ---- params.c ----


def array(at) -> np.ndarray:
    return np.ctypeslib.as_array(at, shape=(D,)).copy()


@pytest.fixture
def params(lib):
    assert lib.p_init() == Result.OK
    return lib


def test_the_base_is_the_policy_compiled_in(params):
    theta = np.linspace(-1, 1, D, dtype=np.float32)
    assert array(params.base()).tobytes() == theta.tobytes()
    assert params.base_crc() == zlib.crc32(theta.tobytes())


def upload(lib, theta, crc=None, chunks=None) -> int:
    assert lib.p_begin(D, zlib.crc32(theta.tobytes()) if crc is None else crc) == Result.OK
    for at in range(0, D, 16) if chunks is None else chunks:
        part = theta[at : at + 16]
        result = lib.p_chunk(at, len(part), floats([*part, *[0.0] * (16 - len(part))]))
        if result != Result.OK:
            return result
    return lib.p_end()


def test_upload_replaces_the_base_when_all_of_it_came(params):
    theta = np.random.default_rng(0).normal(size=D).astype(np.float32)
    assert upload(params, theta, chunks=(0, 0, 16, 16, 0, 32)) == Result.OK, "a chunk may come twice"
    assert array(params.base()).tobytes() == theta.tobytes()
    assert params.base_crc() == zlib.crc32(theta.tobytes())


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"crc": 1}, Result.BAD_CRC),
        ({"chunks": (0, 16)}, Result.BAD_RANGE),
        ({"chunks": (0, 32)}, Result.BAD_RANGE),
        ({"chunks": ()}, Result.BAD_RANGE),
    ],
)
def test_an_upload_that_is_not_whole_changes_nothing(params, change, result):
    before = array(params.base())
    assert upload(params, np.ones(D, np.float32), **change) == result
    assert array(params.base()).tobytes() == before.tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_index(params, bad):
    before = array(params.base())
    theta = np.ones(D, np.float32)
    theta[20] = bad
    assert upload(params, theta) == Result.NOT_FINITE
    assert params.last_detail() == 20
    assert params.p_candidate(1, bad) == Result.NOT_FINITE
    assert params.last_detail() == NO_INDEX
    assert params.p_commit(1, bad, 0) == Result.NOT_FINITE
    assert array(params.base()).tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("count", "offset", "used"), [(D + 1, 0, 16), (0, 0, 16), (D, 0, 17), (D, 0, 0), (D, 2**32 - 8, 16)]
)
def test_counts_out_of_bounds_are_refused(params, count, offset, used):
    begun = params.p_begin(count, 0)
    assert begun == (Result.OK if count == D else Result.BAD_RANGE)
    assert params.p_chunk(ctypes.c_uint32(offset), used, floats([1.0] * 16)) == Result.BAD_RANGE


def test_a_chunk_without_an_announcement_is_refused(params):
    assert params.p_chunk(0, 16, floats([1.0] * 16)) == Result.BAD_RANGE
    assert params.p_end() == Result.BAD_RANGE


@pytest.mark.parametrize("sigma", [0.1, -0.1, 1e-30, 3.0])
def test_candidates_are_bit_equal_to_numpy(params, sigma):
    base = array(params.base())
    for seed in (0, 1, 2**32 - 1):
        expected = rebuilt(base, seed, sigma)
        assert params.p_candidate(seed, sigma) == Result.OK
        assert array(params.candidate()).tobytes() == expected.tobytes()
    assert params.p_candidate(3, 0.0) == Result.OK
    assert array(params.candidate()).tobytes() == base.tobytes(), "sigma 0 is the base"


def test_a_candidate_that_overflows_is_refused(params):
    theta = np.full(D, 3.4e38, np.float32)
    assert upload(params, theta) == Result.OK
    assert params.p_candidate(1, 3e38) == Result.NOT_FINITE


def test_commit_moves_the_base_only_to_what_was_expected(params):
    base = array(params.base())
    expected = rebuilt(base, 9, 0.25)
    crc = zlib.crc32(expected.tobytes())
    assert params.p_commit(9, 0.25, crc ^ 1) == Result.BAD_CRC
    assert params.last_detail() == crc
    assert array(params.base()).tobytes() == base.tobytes()
    for _ in range(2):  # said twice, done once
        assert params.p_commit(9, 0.25, crc) == Result.OK
        assert array(params.base()).tobytes() == expected.tobytes()


# ---- safety.c ----

EVENTS = "BOOTED FAULT ARM DISARM RUN STOP FINISHED HOLD RELEASE ESTOP CLEAR_ESTOP TAKEOVER".split()  # noqa: SIM905
EPISODE = (State.RUN, State.HOLD)


def rule(state: State, event: str) -> State | None:
    """The safety machine in words, independent of the table; None: refused."""
    if event == "ESTOP":
        return State.ESTOP
    if state is State.ESTOP:  # latched: only CLEAR_ESTOP leads out; a stop, a fault or another host change nothing
        stays = {"CLEAR_ESTOP": State.IDLE, "STOP": state, "FAULT": state, "TAKEOVER": state}
        return stays.get(event)
    if event == "FAULT":
        return State.FAULT
    if state is State.BOOT:
        return State.IDLE if event == "BOOTED" else None
    if event == "DISARM":
        return State.IDLE
    if event == "STOP":
        return {State.RUN: State.ARMED, State.HOLD: State.FAULT}.get(state, state)
    if event == "TAKEOVER":
        return None if state in EPISODE else State.FAULT if state is State.FAULT else State.IDLE
    moves = {
        ("ARM", State.IDLE): State.ARMED,
        ("ARM", State.ARMED): State.ARMED,
        ("RUN", State.ARMED): State.RUN,
        ("FINISHED", State.RUN): State.ARMED,
        ("FINISHED", State.HOLD): State.FAULT,
        ("HOLD", State.RUN): State.HOLD,
        ("RELEASE", State.RUN): State.FAULT,
        ("RELEASE", State.HOLD): State.FAULT,
        ("CLEAR_ESTOP", State.IDLE): State.IDLE,
    }
    return moves.get((event, state))


@pytest.mark.parametrize("state", list(State))
def test_the_safety_table_is_the_rules(lib, state):
    for number, event in enumerate(EVENTS):
        expected = rule(state, event)
        assert lib.safety_next(int(state), number) == (0xFF if expected is None else expected), (state, event)
    assert bool(lib.safety_torque(int(state))) == (state in EPISODE)


def test_beyond_the_table_everything_is_refused(lib):
    assert lib.safety_next(7, 0) == lib.safety_next(0, 12) == lib.safety_next(255, 255) == 0xFF


def test_no_chain_of_events_reaches_torque_without_arming_anew(lib):
    """From every state without torque, RUN is reached only through ARM, then RUN."""
    arm, run = EVENTS.index("ARM"), EVENTS.index("RUN")
    for start in (State.BOOT, State.IDLE, State.FAULT, State.ESTOP):
        seen, todo = {int(start)}, [int(start)]
        while todo:
            state = todo.pop()
            for event in range(12):
                after = lib.safety_next(state, event)
                if event != arm and after != 0xFF and after not in seen:
                    seen.add(after)
                    todo.append(after)
        assert not seen & {State.ARMED, State.RUN, State.HOLD}
    assert [s for s in State if lib.safety_next(int(s), run) != 0xFF] == [State.ARMED]
