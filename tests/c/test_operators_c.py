"""Operators in C and in Python on the same returns: the same episodes, candidates and results, to the last bit."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esmaml_robot.adaptation import OperatorConfig
from esmaml_robot.adaptation.base import materialise
from esmaml_robot.adaptation.student import t975_single
from esmaml_robot.bridge.messages import Operator, Option
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import RUNTIME, SANITIZERS, WARNINGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

F = np.float32
POLICY = PolicySpec(inputs=2, outputs=2, hidden=())
D = POLICY.dimension
THETA = np.linspace(-1, 1, D).astype(F)
CANDIDATES, DIRECTIONS = 64, 20
STEP, KEEP, RUN, END = range(4)

GLUE = """
#include <string.h>
#include "adaptation.h"
#include "params.h"
static struct adaptation adaptation, saved;
struct params params;
int start(uint8_t kind, uint8_t options, uint16_t queries, uint16_t parallel, uint32_t seed, float sigma, float shrink,
          float alpha, uint16_t *bound)
{
    struct adaptation_settings s = {kind, options, queries, parallel, seed, sigma, shrink, alpha};
    return (int)adaptation_start(&adaptation, &s, bound);
}
void base(const float *values, float *out)
{
    if (values) { memcpy(params.base, values, sizeof params.base); }
    if (out) { memcpy(out, params.base, sizeof params.base); }
}
/* Carries out orders up to the next RUN or END: its kind, the episode's seed, the candidate. */
int next(uint32_t *seed, float *candidate)
{
    struct adaptation_order order;
    params_restart(&params);
    for (;;) {
        order = adaptation_next(&adaptation);
        if (order.kind == ORDER_STEP) {
            if (params_step(&params, order.seed, order.factor).result != 0) { return -1; }
        } else if (order.kind == ORDER_KEEP) {
            params_keep(&params);
        } else {
            *seed = order.seed;
            memcpy(candidate, params.candidate, sizeof params.candidate);
            return order.kind;
        }
    }
}
int again(uint32_t *seed)
{
    const struct adaptation_order order = adaptation_next(&adaptation);
    *seed = order.seed;
    return order.kind;
}
void tell(float value) { adaptation_tell(&adaptation, value); }
float pivot(void) { return adaptation_pivot(&adaptation); }
float sigma(void) { return adaptation.sigma; }
int episodes(void) { return adaptation.episodes; }
void save(void) { saved = adaptation; }
void load(void) { memset(&adaptation, 0xA5, sizeof adaptation); adaptation = saved; }
float root(float value) { return moments_sqrt(value); }
void roots(const float *values, float *out, int n) { while (n-- > 0) { out[n] = moments_sqrt(values[n]); } }
float t975(uint16_t freedom) { return moments_t975(freedom); }
"""


def build(folder, candidates=CANDIDATES, directions=DIRECTIONS):
    write_policy_c(Policy(POLICY, THETA, Normaliser.identity(2)), load_robot("rover_uno"), folder)
    write_robot_c(load_robot("rover_uno"), folder)
    (folder / "glue.c").write_text(GLUE)
    names = ("adaptation", "climb", "confirmed", "gradient", "moments", "params", "crc32", "directions")
    sources = [*(RUNTIME / f"{name}.c" for name in names), folder / "policy.c", folder / "glue.c"]
    # the address sanitizer wants to be the first library of a process, which Python is not
    sanitizers = [flag.replace("address,", "") for flag in SANITIZERS]
    subprocess.run(
        ["cc", "-std=c99", "-O1", "-ffp-contract=off", *WARNINGS, *sanitizers, "-DESMAML_FIRMWARE", "-shared", "-fPIC",
         f"-DADAPTATION_CANDIDATES={candidates}", f"-DADAPTATION_DIRECTIONS={directions}", f"-I{RUNTIME}",
         f"-I{folder}", *map(str, sources), "-o", str(folder / "operators.so")],
        check=True,
    )  # fmt: skip
    c = ctypes.CDLL(str(folder / "operators.so"))
    for name in ("pivot", "sigma", "root", "t975"):
        getattr(c, name).restype = ctypes.c_float
    for name in ("tell", "root"):
        getattr(c, name).argtypes = [ctypes.c_float]
    c.start.argtypes = [ctypes.c_uint8, ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint16, ctypes.c_uint32,
                        ctypes.c_float, ctypes.c_float, ctypes.c_float, ctypes.c_void_p]  # fmt: skip
    return c


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    return build(tmp_path_factory.mktemp("operators"))


def start(c, config: OperatorConfig, seed: int) -> tuple[int, int]:
    """What adaptation_start() answers, and the bound beside it."""
    options = (
        Option.AVERAGE * (config.mode == "average")
        | Option.ANTITHETIC * (config.kind == "antithetic")
        | Option.NORMALISE * config.normalise
    )
    bound = ctypes.c_uint16()
    code = Operator[config.name.upper()]
    numbers = (config.queries, config.parallel, seed, config.sigma, config.shrink, config.alpha)
    return c.start(code, options, *numbers, ctypes.byref(bound)), bound.value


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def compare(c, config: OperatorConfig, seed: int, value, cut: int = -1):
    """Run both on value(episode number, candidate); checks every episode and the result, which is returned."""
    operator = config.build()
    state = operator.start(THETA, seed)
    assert start(c, config, seed) == (0, 0)
    assert c.episodes() == operator.episodes
    c.base(pointer(THETA), None)
    told, candidate, drawn = 0, np.zeros(D, F), ctypes.c_uint32()
    while not operator.done(state):
        asked = operator.ask(state)
        rows, returns = materialise([asked]), []
        for row in range(len(asked)):
            if told == cut:  # as if the struct had been kept elsewhere for a while
                c.save()
                c.load()
            assert c.next(ctypes.byref(drawn), pointer(candidate)) == RUN
            assert candidate.tobytes() == rows[row].tobytes(), told
            assert drawn.value == int(asked.episode_seeds[row])
            if told % 3 == 0:  # an invalid episode runs again
                assert c.again(ctypes.byref(drawn)) == RUN
                assert drawn.value == int(asked.episode_seeds[row])
            returns.append(value(told, candidate))
            c.tell(returns[-1])
            told += 1
        state = operator.tell(state, np.array(returns, F))
    assert c.next(ctypes.byref(drawn), pointer(candidate)) == END
    base = np.zeros(D, F)
    c.base(None, pointer(base))
    result = operator.result(state)
    assert base.tobytes() == result.params.tobytes()
    if hasattr(state, "pivot"):
        assert (c.pivot(), c.sigma()) == (pytest.approx(state.pivot, rel=0, nan_ok=True), F(sigma_of(config, state)))
    return result


def sigma_of(config, state):
    return getattr(state, "sigma", config.sigma)


def _returns(kind: str, seed: int):
    """A function of (episode, candidate) that gives returns of a kind."""
    rng = np.random.default_rng(seed)
    given_before = [F(0)]

    def draw(told, candidate):
        height = -float((candidate.astype(np.float64) ** 2).sum())
        match kind:
            case "ties":
                value = rng.choice([-1.0, 0.0, 0.0, 0.1, 1.0])
            case "noise":
                value = rng.normal()
            case "noisy hill":
                value = height + 0.1 * rng.normal()
            case "hill":
                value = height
            case "offset":
                value = -400.0 + rng.choice([0.0, 1e-3 * rng.normal()])
            case "again":
                value = given_before[0] if rng.random() < 0.7 else F(rng.normal())
            case "large":
                value = rng.choice([1.0, 1e18, -1e19, 3e15 * rng.normal()])
            case _:
                value = rng.choice([3.4e38, -3.4e38, 1e-45, -1e-38, 0.0, -0.0, 1e30 * rng.normal()])
        given_before[0] = F(value)
        return float(F(value))

    return draw


KINDS = ("ties", "noise", "noisy hill", "hill", "offset", "again", "large", "extreme")
CONFIGS = st.one_of(
    st.builds(
        OperatorConfig,
        name=st.just("confirmed_hill_climb"),
        queries=st.integers(5, CANDIDATES),
        shrink=st.sampled_from([1.0, 0.8]),
        sigma=st.sampled_from([0.1, 0.7]),
    ),
    st.builds(
        OperatorConfig,
        name=st.just("es_gradient"),
        queries=st.integers(1, DIRECTIONS),
        kind=st.just("plain"),
        normalise=st.booleans(),
        alpha=st.sampled_from([0.0, 0.05, 1e-20]),
    ),
    st.builds(
        OperatorConfig,
        name=st.just("es_gradient"),
        queries=st.integers(1, DIRECTIONS).map(lambda n: 2 * n),
        kind=st.just("antithetic"),
        normalise=st.booleans(),
        alpha=st.sampled_from([0.05, 1e-20]),
    ),
    st.builds(OperatorConfig, name=st.just("hill_climb"), queries=st.integers(1, 60), shrink=st.sampled_from([1, 0.7])),
    st.builds(
        OperatorConfig,
        name=st.just("batch_hill_climb"),
        queries=st.integers(1, 12),
        parallel=st.integers(1, 7),
        mode=st.sampled_from(["batch", "average"]),
    ),
)


@settings(max_examples=400, deadline=None)
@given(config=CONFIGS, kind=st.sampled_from(KINDS[:-1]), seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 60))
def test_both_run_the_same_episodes_and_come_to_the_same_parameters(c, config, kind, seed, cut):
    result = compare(c, config, seed, _returns(kind, seed), cut)
    assert np.isfinite(result.params).all()


@settings(max_examples=100, deadline=None)
@given(config=CONFIGS.filter(lambda o: o.name != "es_gradient" or o.normalise), seed=st.integers(0, 2**32 - 1))
def test_returns_at_the_ends_of_float32_lead_both_to_the_same_place(c, config, seed):
    compare(c, config, seed, _returns("extreme", seed))


def test_every_branch_of_the_confirmation_is_taken(c):
    moved, stayed, exact = 0, 0, 0
    for seed in range(40):
        for kind in ("noisy hill", "hill", "noise"):
            result = compare(c, OperatorConfig(name="confirmed_hill_climb", queries=49), seed, _returns(kind, seed))
            moved += result.params.tobytes() != THETA.tobytes() and result.standard_error > 0
            stayed += result.params.tobytes() == THETA.tobytes()
            exact += result.standard_error == 0
    assert min(moved, stayed, exact) > 20


def test_a_gradient_moves_and_equal_returns_do_not(c):
    for kind in ("plain", "antithetic"):
        config = OperatorConfig(name="es_gradient", queries=20, kind=kind, alpha=0.05)
        assert compare(c, config, 3, _returns("noise", 1)).params.tobytes() != THETA.tobytes()
        assert compare(c, config, 3, lambda told, candidate: -7.25).params.tobytes() == THETA.tobytes()


# --- bounds


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"name": "confirmed_hill_climb", "queries": CANDIDATES + 1}, (2, CANDIDATES)),
        ({"name": "es_gradient", "queries": DIRECTIONS + 1, "kind": "plain"}, (2, DIRECTIONS)),
        ({"name": "es_gradient", "queries": 2 * DIRECTIONS + 2}, (2, 2 * DIRECTIONS)),
        ({"name": "batch_hill_climb", "queries": 10000, "parallel": 7}, (2, 65535 // 7 - 1)),
        ({"name": "confirmed_hill_climb", "queries": CANDIDATES}, (0, 0)),
        ({"name": "es_gradient", "queries": 2 * DIRECTIONS}, (0, 0)),
        ({"name": "batch_hill_climb", "queries": 9361, "parallel": 7}, (0, 0)),
    ],
)
def test_what_is_too_much_is_refused_with_the_bound(c, settings, answer):
    assert start(c, OperatorConfig.model_validate(settings), 1) == answer


def test_an_operator_that_was_left_out_is_unknown_and_the_others_work(tmp_path):
    c = build(tmp_path, candidates=0, directions=0)
    for name in ("confirmed_hill_climb", "es_gradient"):
        assert start(c, OperatorConfig(name=name, queries=6), 1) == (1, 0)
    bound = ctypes.c_uint16()
    assert c.start(9, 0, 5, 1, 1, 0.1, 1.0, 0.1, ctypes.byref(bound)) == 1
    compare(c, OperatorConfig(queries=12), 1, _returns("noise", 1))


# --- what they compute with


def test_the_square_root_is_the_one_of_ieee_754(c):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 0x7F800001, 200_000, dtype=np.uint32).view(F)
    values = np.concatenate([values, np.arange(1, 5000, dtype=np.uint32).view(F), np.arange(5000).astype(F)])
    found = np.zeros_like(values)
    c.roots(pointer(values), pointer(found), len(values))
    assert found.tobytes() == np.sqrt(values).tobytes()
    assert np.isnan([c.root(-1.0), c.root(float("nan")), c.root(-float("inf"))]).all()
    assert np.signbit(F(c.root(-0.0)))


def test_quantiles_of_students_t_are_the_same(c):
    assert [c.t975(n) for n in range(1, 3000)] == [float(t975_single(n)) for n in range(1, 3000)]
