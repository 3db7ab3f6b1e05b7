"""`esmaml export model.onnx --c`: networks from scikit-learn and PyTorch as C that agrees, or nothing at all."""

from __future__ import annotations

import json
import subprocess
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from esmaml_robot.errors import ExportError
from firmware_export import export_network as module
from firmware_export.export_network import export_network, name_of


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    """A StandardScaler and a network, by way of skl2onnx."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (80, 5)).astype(np.float32), rng.normal(size=(80, 2))
    model = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(12,), activation="tanh", max_iter=5))
    path = tmp_path_factory.mktemp("scaled") / "Cart-Pole 2.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(to_onnx(model.fit(x, y), x[:1]).SerializeToString())
    return path


@pytest.fixture(scope="module")
def actor(tmp_path_factory):
    """Stable-Baselines3's layout with a batch of 1 written into the graph, as an export without dynamic axes has it."""
    generator = torch.Generator().manual_seed(1)
    net = torch.nn.Sequential(
        torch.nn.Linear(17, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 6)
    )
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
    mean, var = torch.randn(17, generator=generator), torch.rand(17, generator=generator) + 0.5

    class Actor(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, obs):
            x = torch.clamp((obs - mean) / torch.sqrt(var + 1e-8), -10.0, 10.0)
            return torch.clamp(self.net(x), -1.0, 1.0)

    path = tmp_path_factory.mktemp("actor") / "actor.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Actor(), (torch.zeros(1, 17),), str(path), dynamo=False, input_names=["obs"], output_names=["action"]
        )
    return path


def test_scikit_learn_by_the_command(esmaml, scaled, tmp_path):
    report = json.loads(esmaml("export", scaled, "--c", "--out", tmp_path / "a", "--json").stdout)
    assert set(report["files"]) == {"cart_pole_2.h", "cart_pole_2.c"}
    assert report["network"] == "5-12-2"
    assert report["verify"]["bit_equal"] is True
    assert report["verify"]["worst"] < 0.5
    assert report["verify"]["samples"] == 10_000
    assert "folded" in report["notes"][0]
    export_network(scaled, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_actor_by_the_command_beside_the_file(esmaml, actor):
    said = esmaml("export", actor, "--samples", "300").stdout
    assert "17-64-64-6" in said
    assert "bit-equal" in said
    assert set(contents(actor.parent / "actor-c")) == {"actor.h", "actor.c", "export.json"}


def softmax(path):
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], name="head")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_what_is_refused_leaves_everything_as_it_was(esmaml, scaled, tmp_path):
    folder = tmp_path / "out"
    export_network(scaled, folder, "net")
    before = contents(folder)
    for arguments, code, says in (
        ([softmax(tmp_path / "s.onnx"), "--c"], 8, "node 'head' (Softmax)"),
        ([scaled, "--meta"], 2, "--meta is for run folders only"),
        ([scaled, "--formats", "onnx"], 2, "an .onnx file becomes C"),
    ):
        done = esmaml("export", *arguments, "--out", folder, check=False)
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
    for path, options, says in (
        (tmp_path / "missing.onnx", {}, "No such file"),
        (scaled, {"name": "3d"}, "cannot begin a C function"),
        (scaled, {"name": "math"}, "header of the C library"),
        (scaled, {"output": "q"}, "has no output 'q'"),
        (scaled, {"samples": 0}, "samples is 0"),
    ):
        with pytest.raises(ExportError, match=says):
            export_network(path, folder, **options)
    assert contents(folder) == before


def test_weights_that_are_not_finite_are_refused(scaled, tmp_path):
    model = onnx.load(scaled)
    weights = next(t for t in model.graph.initializer if t.name == "coefficient")
    values = numpy_helper.to_array(weights).copy()
    values[0, 0] = np.inf
    weights.CopyFrom(numpy_helper.from_array(values, "coefficient"))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ExportError, match="holds infinity"):
        export_network(tmp_path / "m.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_c_that_is_not_the_network_is_found(scaled, tmp_path, monkeypatch):
    real = module.render_network_c

    def spoilt(*arguments):
        files = real(*arguments)
        # the selftest is blinded first: the comparison itself must notice
        for old, new in (("result = 1;", "result = 0;"), ("x = x / (x + 1.0f);", "x = x / (x + 1.001f);")):
            assert old in files["net.c"]
            files["net.c"] = files["net.c"].replace(old, new)
        return files

    monkeypatch.setattr(module, "render_network_c", spoilt)
    with pytest.raises(ExportError, match=r"onnxruntime and C differ by up to .*for the inputs \["):
        export_network(scaled, tmp_path / "out", "net", samples=500)
    assert contents(tmp_path / "out") == {}


def test_names():
    assert [name_of(module.Path(n)) for n in ("Actor v2.onnx", "2d.onnx", "ü.onnx")] == ["actor_v2", "net_2d", "net"]


def test_a_c_project_that_uses_it(scaled, tmp_path):
    export_network(scaled, tmp_path, "net", samples=100)
    (tmp_path / "main.c").write_text(
        '#include "net.h"\nint main(void)\n{\n    static float work[NET_WORK];\n    return net_selftest(work, 0);\n}\n'
    )
    subprocess.run(["cc", "-std=c99", "main.c", "net.c", "-o", "main"], cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "main"], timeout=60).returncode == 0
