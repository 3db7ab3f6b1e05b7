"""ONNX files from elsewhere as networks: PyTorch, Stable-Baselines3's actor, scikit-learn; and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from esmaml_robot import directions
from esmaml_robot.errors import ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.float_model import probe_inputs, tolerance
from firmware_export.network import Activation, Clip, Dense, Scale
from firmware_export.onnx_model import write_onnx
from firmware_export.onnx_reader import read_onnx


def save(path, nodes, constants, inputs=(("x", [None, 3]),), outputs=("y",), opset=17, kind=TensorProto.FLOAT):
    """A graph of these nodes; constants by name."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(inputs[0][1])) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def node(operator, inputs, output="y", **attributes):
    return helper.make_node(operator, inputs, [output], name=f"the_{operator.lower()}", **attributes)


def agrees(path, output=None, rows=300):
    """Read it, run it beside onnxruntime, and return the network."""
    model = read_onnx(path, output)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    x = probe_inputs(model.network, rows, 7)
    if all(source.batched for source in model.sources):
        theirs = session.run([model.output], model.feeds(x))[0].reshape(rows, -1)
    else:
        theirs = np.stack([session.run([model.output], model.feeds(row[None]))[0].ravel() for row in x])
    assert (np.abs(theirs - model.network.forward(x)) <= tolerance(model.network, x)).all()
    return model.network


def kinds(network):
    return [type(layer) for layer in network.layers]


W, B = np.float32([[1, 2, 3], [4, 5, -6]]), np.float32([0.5, -1])


@pytest.mark.parametrize(
    ("nodes", "constants", "expected"),
    [
        ([node("Gemm", ["x", "w", "b"], transB=1, alpha=0.5, beta=2.0)], {"w": W, "b": B}, [Dense]),
        ([node("MatMul", ["x", "w"], "h"), node("Add", ["b", "h"])], {"w": W.T.copy(), "b": B}, [Dense]),
        ([node("Gemm", ["x", "w"], transB=1)], {"w": W}, [Dense]),
        ([node("Sub", ["x", "c"], "h"), node("Div", ["h", "s"])], {"c": W[:1], "s": W[0]}, [Scale]),
        ([node("Sub", ["c", "x"])], {"c": np.float32(2)}, [Scale]),
        ([node("Mul", ["x", "c"], "h"), node("Tanh", ["h"])], {"c": W[0]}, [Scale, Activation]),
        ([node("Sigmoid", ["x"], "h"), node("Softsign", ["h"])], {}, [Activation] * 2),
        ([node("LeakyRelu", ["x"], "h", alpha=0.2), node("Elu", ["h"], alpha=0.7)], {}, [Activation] * 2),
        ([node("LeakyRelu", ["x"], "h"), node("Relu", ["h"], "i"), node("Elu", ["i"])], {}, [Activation] * 3),
        ([node("Clip", ["x", "l", "h"])], {"l": np.float32(-1), "h": np.float32(2)}, [Clip]),
        ([node("Clip", ["x", "", "h"])], {"h": np.float32(2)}, [Clip]),
        ([node("Flatten", ["x"], "h"), node("Identity", ["h"], "i"), node("Tanh", ["i"])], {}, [Activation]),
        ([node("Reshape", ["x", "s"], "h"), node("Tanh", ["h"])], {"s": np.int64([-1, 3])}, [Activation]),
        ([node("Cast", ["x"], "h", to=TensorProto.FLOAT), node("Tanh", ["h"])], {}, [Activation]),
        # constants are computed: a standard deviation out of a variance
        (
            [node("Add", ["v", "e"], "u"), node("Sqrt", ["u"], "s"), node("Div", ["x", "s"])],
            {"v": np.float32([1, 4, 9]), "e": np.float32(1e-8)},
            [Scale],
        ),
        ([node("Gemm", ["x", "w"], "h", transB=1), node("Mul", ["h", "g"])], {"w": W, "g": B}, [Dense]),
        ([node("Sub", ["x", "c"], "h"), node("Gemm", ["h", "w"], transB=1)], {"c": W[0] / 2, "w": W}, [Dense]),
    ],
)  # fmt: skip
def test_operators(nodes, constants, expected, tmp_path):
    assert kinds(agrees(save(tmp_path / "m.onnx", nodes, constants))) == expected


def test_a_large_mean_is_not_folded_into_a_matrix(tmp_path):
    nodes = [node("Sub", ["x", "c"], "h"), node("Gemm", ["h", "w"], transB=1)]
    path = save(tmp_path / "m.onnx", nodes, {"c": np.float32([0, 101325, 0]), "w": W})
    assert kinds(agrees(path)) == [Scale, Dense]


def test_inputs_that_are_joined_and_shapes_without_a_batch(tmp_path):
    nodes = [node("Mul", ["a", "g"], "s"), node("Concat", ["s", "b"], "c", axis=1), node("Gemm", ["c", "w"], transB=1)]
    path = save(tmp_path / "m.onnx", nodes, {"g": np.float32([9, 7]), "w": W}, (("a", ["n", 2]), ("b", ["n", 1])))
    assert agrees(path).inputs == ("a[0]", "a[1]", "b[0]")
    path = save(tmp_path / "n.onnx", [node("MatMul", ["x", "w"])], {"w": W.T.copy()}, (("x", [3]),))
    assert kinds(agrees(path)) == [Dense]
    path = save(tmp_path / "p.onnx", [node("Flatten", ["x"], "h"), node("Gemm", ["h", "w"])],
                {"w": np.ones((6, 2), np.float32)}, (("x", ["n", 2, 3]),))  # fmt: skip
    assert agrees(path).describe() == "6-2"


def test_one_output_of_several(tmp_path):
    nodes = [node("Tanh", ["x"]), node("Softmax", ["x"], "z")]
    path = save(tmp_path / "m.onnx", nodes, {}, outputs=("y", "z"))
    with pytest.raises(ExportError, match="several outputs; choose one of: y, z"):
        read_onnx(path)
    assert kinds(agrees(path, "y")) == [Activation]
    with pytest.raises(ExportError, match="no output 'q'"):
        read_onnx(path, "q")


@pytest.mark.parametrize(
    ("nodes", "constants", "message"),
    [
        ([node("Softmax", ["x"])], {}, r"node 'the_softmax' \(Softmax\): this operator is not supported"),
        ([node("Tanh", ["x"], "h"), node("Mul", ["h", "x"])], {}, r"'the_mul' \(Mul\): both of its inputs depend"),
        ([node("Div", ["c", "x"])], {"c": np.float32(1)}, "a division by the input"),
        ([node("Div", ["x", "c"])], {"c": np.float32(0)}, "divides by zero"),
        ([node("Gemm", ["x", "w"])], {"w": np.ones((2, 4), np.float32)}, r"matrix of shape \(2, 4\) does not fit"),
        ([node("Add", ["x", "c"])], {"c": np.ones(4, np.float32)}, r"constant has shape \(4,\)"),
        ([node("Add", ["x", "c"])], {"c": np.ones((5, 1), np.float32)}, r"constant has shape \(5, 1\)"),
        ([node("Gemm", ["x", "w"], transB=1)], {"w": W * np.float32(np.nan)}, "matrix holds NaN"),
        ([node("Add", ["x", "c"])], {"c": np.float32(np.inf)}, "holds infinity"),
        ([node("Clip", ["x", "l", "h"])], {"l": np.float32(1), "h": np.float32(-2)}, "min lies above its max"),
        ([node("Cast", ["x"], "y", to=TensorProto.DOUBLE)], {}, "casts to DOUBLE"),
        ([node("Flatten", ["x"], "y", axis=0)], {}, "more than to make a row"),
        ([node("Reshape", ["x", "s"])], {"s": np.int64([3, -1])}, "more than to make a row"),
        ([node("Concat", ["x", "c"], axis=1)], {"c": np.ones((1, 1), np.float32)}, "joins more than inputs"),
        ([node("MatMul", ["w", "x"])], {"w": W}, "its second factor depends on the input"),
        ([node("Identity", ["x"])], {}, "nothing to compute"),
        ([node("Identity", ["c"])], {"c": np.ones((1, 3), np.float32)}, "does not depend on any input"),
        ([node("Reshape", ["x", "s"], "h"), node("Tanh", ["h"])], {"s": np.int64([-1, 1])}, "under one another"),
        ([node("RandomNormal", [], "r", shape=[1, 3]), node("Add", ["x", "r"])], {}, r"\(RandomNormal\): this"),
    ],
)  # fmt: skip
def test_refusals_name_node_and_operator(nodes, constants, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        read_onnx(save(tmp_path / "m.onnx", nodes, constants))


def test_files_and_inputs_that_do_not_serve_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r"cannot read .*No such file"):
        read_onnx(tmp_path / "none.onnx")
    (tmp_path / "noise.onnx").write_bytes(b"\x08\x07 nothing of the kind")
    with pytest.raises(ExportError, match="not a sound ONNX file"):
        read_onnx(tmp_path / "noise.onnx")
    for shape, kind, message in (
        ([None, None], TensorProto.FLOAT, "with a fixed number of inputs"),
        ([7, 3], TensorProto.FLOAT, "a batch of any size or 1"),
        ([None, 3], TensorProto.DOUBLE, "is DOUBLE; only float32"),
    ):
        path = save(tmp_path / "m.onnx", [node("Tanh", ["x"])], {}, (("x", shape),), kind=kind)
        with pytest.raises(ExportError, match=message):
            read_onnx(path)
    path = save(tmp_path / "m.onnx", [node("Tanh", ["x"])], {}, (("x", [None, 3]), ("z", [None, 1])))
    with pytest.raises(ExportError, match=r"'z' .* has no part in output 'y'"):
        read_onnx(path)
    path = save(tmp_path / "m.onnx", [node("Tanh", ["x"])], {}, opset=6)
    with pytest.raises(ExportError, match="opset 6; 7 or later"):
        read_onnx(path)


def learnt(model, inputs=5, outputs=2):
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (80, inputs)).astype(np.float32), rng.normal(size=(80, outputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is stopped long before it has converged
        model.fit(x, y[:, 0] if outputs == 1 else y)
        return model, to_onnx(model, x[:1]).SerializeToString(), x


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPRegressor(hidden_layer_sizes=(8, 4), activation="tanh", max_iter=5, random_state=0),
        lambda: make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(6,), activation="logistic", max_iter=5, random_state=0)
        ),
        lambda: make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(6,), max_iter=5, random_state=0)),
        lambda: make_pipeline(MinMaxScaler(), Ridge()),
    ],
    ids=["tanh", "scaled-logistic", "scaled-relu", "ridge"],
)
def test_scikit_learn(make, outputs, tmp_path):
    model, data, x = learnt(make(), outputs=outputs)
    (tmp_path / "m.onnx").write_bytes(data)
    network = agrees(tmp_path / "m.onnx")
    np.testing.assert_allclose(network.forward(x), model.predict(x).reshape(80, -1), rtol=1e-5, atol=1e-5)


def test_a_classifier_is_refused(tmp_path):
    model = MLPClassifier(hidden_layer_sizes=(4,), max_iter=5)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rng.normal(size=(40, 3)), rng.integers(0, 3, 40))
        (tmp_path / "m.onnx").write_bytes(to_onnx(model, np.zeros((1, 3), np.float32)).SerializeToString())
    with pytest.raises(ExportError, match="several outputs"):
        read_onnx(tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"\(Softmax\)"):
        read_onnx(tmp_path / "m.onnx", "output_probability")


class Actor(torch.nn.Module):
    """Stable-Baselines3's layout: VecNormalize, tanh trunks 64-64 for policy and value, the mean action clipped."""

    def __init__(self, inputs=17, outputs=6):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("mean", torch.randn(inputs, generator=generator))
        self.register_buffer("var", torch.rand(inputs, generator=generator) + 0.5)
        self.flatten = torch.nn.Flatten()

        def trunk():
            return torch.nn.Sequential(
                torch.nn.Linear(inputs, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh()
            )

        self.policy_net, self.value_net = trunk(), trunk()
        self.action_net, self.value_head = torch.nn.Linear(64, outputs), torch.nn.Linear(64, 1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5

    def forward(self, obs):
        x = torch.clamp((obs - self.mean) / torch.sqrt(self.var + 1e-8), -10.0, 10.0)
        features = self.flatten(x)
        action = torch.clamp(self.action_net(self.policy_net(features)), -1.0, 1.0)
        return action, self.value_head(self.value_net(features))


def export_actor(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is the one that needs no further package
        torch.onnx.export(
            Actor(), (torch.zeros(1, 17),), str(path), dynamo=False, input_names=["obs"],
            output_names=["action", "value"], dynamic_axes={"obs": {0: "batch"}},
        )  # fmt: skip
    return path


def test_the_actor_of_stable_baselines(tmp_path):
    network = agrees(export_actor(tmp_path / "actor.onnx"), "action")
    assert kinds(network) == [Scale, Clip, Dense, Activation, Dense, Activation, Dense, Clip]
    assert network.describe() == "17-64-64-6"
    assert agrees(tmp_path / "actor.onnx", "value").describe() == "17-64-64-1"


@pytest.mark.parametrize("clock", [None, 24])
def test_our_own_policies_come_back(clock, tmp_path):
    rover = load_robot("rover_uno")
    spec = PolicySpec(inputs=2, outputs=2, hidden=(8,), clock_steps=clock)
    normaliser = Normaliser(np.float32([0.3, -0.2]), np.float32([2.5, 30.0]))
    policy = Policy(spec, directions.directions([1], spec.dimension)[0], normaliser)
    network = agrees(write_onnx(policy, rover, tmp_path / "policy.onnx"))
    assert network.describe() == ("2-8-2" if clock is None else "4-8-2")
