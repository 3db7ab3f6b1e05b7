"""`esmaml export --formats c-int16,c-int8`: a run and an ONNX file as integers that prove themselves, or nothing."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.errors import ExportError
from esmaml_robot.robot_spec import load_robot
from firmware_export import export_network as export_module
from firmware_export import fixed_export
from firmware_export.calibration import InputsGiven, calibration_of, parse_ranges, read_rows
from firmware_export.export import export_policy
from firmware_export.export_network import export_network
from firmware_export.fixed_model import run
from firmware_export.fixed_quantise import quantise
from firmware_export.onnx_reader import read_onnx

NAMES = {"policy_int16.h", "policy_int16.c", "policy_int8.h", "policy_int8.c"}


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def corners(make_run, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("fixed") / "run")


@pytest.fixture(scope="module")
def exported(esmaml, corners):
    """What the command printed, and its folder."""
    done = esmaml("export", corners, "--meta", "--formats", "c, c-int16,c-int8", "--tasks", "8", "--json")
    return json.loads(done.stdout), corners / "export"


def test_a_run_becomes_integers_that_drive_as_well(exported):
    report, folder = exported
    assert set(report["files"]) == {"policy.h", "policy.c"} | NAMES
    assert json.loads((folder / "export.json").read_text()) == report
    int16, int8 = report["fixed"]
    assert (int16["format"], int8["format"]) == ("c-int16", "c-int8")
    for one in (int16, int8):
        assert one["rows"] >= 1000
        assert one["source"] == "16 episodes of four_corners in simulation"
        assert re.search(r"accumulators within \d+, [\d.]+ % of 32 bits", one["bounds"][0])
        loop = one["closed_loop"]
        assert (loop["family"], loop["tasks"]) == ("four_corners", 8)
        assert loop["difference"] == pytest.approx(loop["fixed"] - loop["float32"], abs=1e-4)
    assert 0 < int16["error"] < 2e-3 < int8["error"]
    assert abs(int16["closed_loop"]["difference"]) < 0.01 * abs(int16["closed_loop"]["float32"])


def test_the_header_says_for_what_it_is(exported):
    report, folder = exported
    text = (folder / "policy_int16.h").read_text()
    for key in ("spec_hash", "layout_hash", "policy_hash"):
        assert f'#define POLICY_INT16_{key.upper()} "{report[key]}"' in text
    assert f'#define POLICY_INT16_HASH "{report["fixed"][0]["fixed_hash"]}"' in text
    assert "A control period is" in text


def test_twice_the_same_bytes(esmaml, corners, exported, tmp_path):
    esmaml("export", corners, "--meta", "--formats", "c,c-int16,c-int8", "--tasks", "8", "--out", tmp_path)
    assert contents(tmp_path) == contents(exported[1])


def test_verify_replays_the_integers_too(esmaml, exported, tmp_path):
    report, folder = exported
    said = json.loads(esmaml("verify", folder, "--json").stdout)
    assert said["fixed"] == {"policy_int16": report["fixed"][0]["fixed_hash"],
                             "policy_int8": report["fixed"][1]["fixed_hash"]}  # fmt: skip
    for name, data in contents(folder).items():
        (tmp_path / name).write_bytes(data)
    source = tmp_path / "policy_int16.c"
    text = source.read_text()
    source.write_text(text.replace(re.search(r"weights_0\[\d+\] ROM = \{\s*(-?\d+)", text)[1], "123", 1))
    done = esmaml("verify", tmp_path, check=False)
    assert (done.returncode, "is not the file that export.json describes" in done.stderr) == (8, True), done.stderr


def test_a_clock_is_part_of_the_c(esmaml, corners, tmp_path):
    """A family with a clock among the policy's inputs, with rows of its own instead of rollouts."""
    from esmaml_robot import meta
    from esmaml_robot.checkpoint import Checkpoint, save_checkpoint
    from esmaml_robot.cli.settings import run_config
    from esmaml_robot.moments import Moments
    from esmaml_robot.policy import Normaliser

    config = run_config("cheetah_direction", seed=0)
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    theta = np.linspace(-0.3, 0.3, config.policy.dimension).astype(np.float32)
    inputs = config.policy.inputs
    checkpoint = Checkpoint(config, meta.start(theta), Normaliser.identity(inputs), Moments.empty(inputs))
    save_checkpoint(folder.checkpoint_file(0), checkpoint)
    turn = 2 * np.pi * np.arange(60) / config.policy.clock_steps
    rows = np.column_stack([*(0.3 * np.sin(turn + i) for i in range(inputs)), np.sin(turn), np.cos(turn)])
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b,c,sine,cosine", comments="")
    esmaml(
        "export", tmp_path / "run", "--meta", "--formats", "c-int16", "--calibration", tmp_path / "rows.csv", "--tasks",
        "0", "--out", tmp_path,
    )  # fmt: skip
    steps = config.policy.clock_steps
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "policy_int16.h"\nint main(void)\n{\n    int16_t c[2];\n    uint16_t t;\n'
        "    for (t = 0; t < 2 * POLICY_INT16_CLOCK_STEPS; t++) {\n        policy_int16_clock(t, c);\n"
        '        printf("%d %d ", c[0], c[1]);\n    }\n    return 0;\n}\n'
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    subprocess.run(["cc", *flags, "main.c", "policy_int16.c", "-o", "main"], cwd=tmp_path, check=True, timeout=60)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True, timeout=60).stdout
    angle = 2 * np.pi * np.arange(2 * steps) / steps
    wanted = np.rint(32767 * np.stack([np.sin(angle), np.cos(angle)], axis=1))
    np.testing.assert_allclose(np.array(printed.split(), int).reshape(-1, 2), wanted, atol=1)


# ---- networks from elsewhere


def chain(path, last="Tanh"):
    """3-4-2 with an activation between, clipped to [-1, 1]."""
    rng = np.random.default_rng(4)
    numbers = {"w0": (3, 4), "b0": (4,), "w1": (4, 2), "b1": (2,)}
    tensors = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in numbers.items()]
    tensors += [numpy_helper.from_array(np.float32(v), n) for n, v in (("low", -1), ("high", 1))]
    nodes = [
        helper.make_node("Gemm", ["obs", "w0", "b0"], ["h"]),
        helper.make_node(last, ["h"], ["a"]),
        helper.make_node("Gemm", ["a", "w1", "b1"], ["y"]),
        helper.make_node("Clip", ["y", "low", "high"], ["action"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("action", TensorProto.FLOAT, [None, 2])], tensors,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    return chain(tmp_path_factory.mktemp("actor") / "actor.onnx")


def test_an_onnx_file_by_the_command(esmaml, actor, tmp_path):
    arguments = ("export", actor, "--c", "--formats", "c,c-int16,c-int8", "--input-range", "-2:2")
    report = json.loads(esmaml(*arguments, "--out", tmp_path / "a", "--json").stdout)
    names = {f"actor{kind}.{end}" for kind in ("", "_int16", "_int8") for end in "hc"}
    assert set(report["files"]) == names
    assert [one["error"] < limit for one, limit in zip(report["fixed"], (5e-4, 5e-2), strict=True)] == [True, True]
    assert f'ACTOR_INT16_NETWORK_HASH "{report["network_hash"]}"' in (tmp_path / "a" / "actor_int16.h").read_text()
    export_network(actor, tmp_path / "b", formats=("c", "c-int16", "c-int8"), given=InputsGiven(None, ("-2:2",)))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_rows_decide_the_counts(actor, tmp_path):
    network = read_onnx(actor).network
    rows = np.random.default_rng(0).uniform([-1, 100, -0.01], [1, 103, 0.01], (200, 3))
    np.save(tmp_path / "rows.npy", rows)
    given = calibration_of(network, InputsGiven(tmp_path / "rows.npy"))
    for entry, low, high in zip(given.inputs, rows.min(axis=0), rows.max(axis=0), strict=True):
        reached = np.array([entry.low, entry.high]) * entry.scale + entry.offset
        # what was seen has room, and at least a quarter of the counts
        assert reached[0] < low < high < reached[1]
        assert (high - low) / np.ptp(reached) > 0.25
    plan = quantise(network, given.inputs, given.outputs, given.rows)
    exact = network.forward(rows)
    counts = np.rint((rows - [i.offset for i in given.inputs]) / [i.scale for i in given.inputs])
    assert np.abs(run(plan, counts) * [o.scale for o in given.outputs] - exact).max() < 2e-3
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=";")
    np.testing.assert_array_equal(read_rows(tmp_path / "rows.csv", 3), np.loadtxt(tmp_path / "rows.csv", delimiter=";"))
    (tmp_path / "rows.csv").write_text("nan,1,2\n" + "3,4,5\n" * 40)  # a bad row is no line of names
    with pytest.raises(ExportError, match=r"row 0 is \[nan, 1.0, 2.0\]"):
        read_rows(tmp_path / "rows.csv", 3)


def test_what_is_refused_leaves_everything_as_it_was(esmaml, actor, corners, tmp_path):
    folder = tmp_path / "out"
    export_network(actor, folder, formats=("c-int16",), given=InputsGiven(None, ("-1:1",)), samples=50)
    before = contents(folder)
    for arguments, code, says in (
        ([actor, "--formats", "c-int16"], 8, "--calibration FILE"),
        ([actor, "--c", "--input-range", "-1:1"], 2, "--input-range is for c-int16 and c-int8 only"),
        ([corners, "--meta", "--formats", "c-int16", "--tasks", "1"], 2, "2 or more, or 0 for none"),
        ([corners, "--formats", "c-int16", "--input-range", "-1:1"], 2, "--input-range is for .onnx files only"),
    ):
        done = esmaml("export", *arguments, "--out", folder, check=False)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
    softsign = chain(tmp_path / "softsign.onnx", "Softsign")
    np.save(tmp_path / "few.npy", np.zeros((5, 3)))
    np.save(tmp_path / "constant.npy", np.ones((50, 3)) * [1, 2, 3])
    np.save(tmp_path / "nan.npy", np.full((50, 3), np.nan))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "words.csv").write_text("a,b,c\n" + "1,2,three\n" * 40)
    for path, given, says in (
        (softsign, InputsGiven(None, ("-1:1",)), "no fixed-point form"),
        (actor, InputsGiven(tmp_path / "few.npy"), r"shape \(5, 3\)"),
        (actor, InputsGiven(tmp_path / "constant.npy"), "in every calibration row"),
        (actor, InputsGiven(tmp_path / "nan.npy"), "row 0 is"),
        (actor, InputsGiven(tmp_path / "words.csv"), "cannot be read"),
        (actor, InputsGiven(tmp_path / "none.csv"), "cannot be read"),
        (actor, InputsGiven(tmp_path / "empty.npy"), "cannot be read"),
        (actor, InputsGiven(None, ("1:-1",)), "LOW below HIGH"),
        (actor, InputsGiven(None, ("speed=-1:1",)), r"inputs are obs\[0\], obs\[1\], obs\[2\]"),
        (actor, InputsGiven(None, ("obs[0]=-1:1",)), r"no --input-range for obs\[1\], obs\[2\]"),
    ):
        with pytest.raises(ExportError, match=says):
            export_network(path, folder, formats=("c-int16",), given=given)
    with pytest.raises(ExportError, match="choose from c, c-int16, c-int8"):
        export_network(actor, folder, formats=("c-int17",))
    policy = RunFolder(corners).newest().policy
    with pytest.raises(ExportError, match="needs calibration rows"):
        export_policy(policy, load_robot("rover_uno"), folder, ["c-int8"])
    assert contents(folder) == before


def test_a_range_of_its_own_is_stronger():
    np.testing.assert_array_equal(parse_ranges(("-1:1", "b=0:1e2"), ("a", "b")), [[-1, 0], [1, 100]])


def test_c_that_is_not_the_model_is_found(actor, tmp_path, monkeypatch):
    real = fixed_export.render_fixed_c

    def spoilt(*arguments, **more):
        files = real(*arguments, **more)
        for old, new in (("result = 1;", "result = 0;"), ("ping[i] = x;", "ping[i] = (int16_t)(x ^ 1);")):
            assert old in files["actor_int16.c"]
            files["actor_int16.c"] = files["actor_int16.c"].replace(old, new)
        return files

    given = InputsGiven(None, ("-1:1",))
    with monkeypatch.context() as spoiling:
        spoiling.setattr(fixed_export, "render_fixed_c", spoilt)
        with pytest.raises(ExportError, match=r"its numpy model differ: for the counts \["):
            export_network(actor, tmp_path / "o", formats=("c-int16",), given=given, samples=500)
    # and a network that is not the file's: nothing else would notice without C in float32
    wrong = read_onnx(actor)
    wrong.network.layers[0].weight[0, 0] += 0.01
    monkeypatch.setattr(export_module, "read_onnx", lambda *_: wrong)
    with pytest.raises(ExportError, match="what was read of"):
        export_network(actor, tmp_path / "o", formats=("c-int16",), given=given, samples=500)
    assert contents(tmp_path / "o") == {}
