"""Training options out of preset and flags, and the parts of a sim:// port."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo
from typer.testing import CliRunner

from esmaml_robot.adaptation.none import NoAdaptation
from esmaml_robot.bridge.transport import ListedPort, available_ports, listed_ports
from esmaml_robot.checkpoint import RunConfig, parse_run_config
from esmaml_robot.cli.main import app
from esmaml_robot.cli.ports import SimPort, parse_sim_port, real_port
from esmaml_robot.cli.settings import baseline_config, run_config
from esmaml_robot.errors import ConfigError, ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from sim.tasks import FAMILIES, make_family
from sim.tasks.beacon import FourCorners

SPEC = load_robot("rover_uno")


def config(*settings, **options):
    return run_config("four_corners", seed=options.pop("seed", 0), settings=settings, **options)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_preset_that_holds(name):
    family = make_family(name)
    one = run_config(name, seed=5)
    robot = family.spec.name if family.spec else ""
    assert (one.family, one.robot, one.spec_hash, one.seed) == (name, robot, family.interface_hash, 5)
    assert (one.policy.inputs, one.policy.outputs) == (family.inputs, family.outputs)
    assert one.episodes == family.preset["episodes"]
    assert one.iterations > 1
    assert one.operator.build().episodes > 1
    initial_theta(one.policy, one.initial, one.initial_gain, one.seed)
    if family.spec:
        assert load_robot(one.robot).spec_hash == one.spec_hash


def test_the_rovers_preset_is_the_one_of_the_published_results():
    one = config()
    assert (one.policy.dimension, one.operator.build().episodes, one.episodes) == (42, 21, 600_000)


def test_options_of_a_family_reach_it_and_the_configuration():
    one = run_config("cheetah_velocity", seed=0, settings=("options.physics.solver_iterations=7",))
    physics = {"solver_iterations": 7, "cone_friction": False, "self_collision": False, "merge_fixed_links": True}
    assert one.options == {"physics": physics}  # whole, with the family's own values
    assert make_family(one.family, one.options).options.physics.solver_iterations == 7
    assert config().options == config("options={}").options == {"dynamics": "bullet"}


def test_flags_override_the_preset():
    assert config(episodes=77).episodes == 77
    assert config(policy="linear").policy.hidden == ()
    assert config(policy="mlp").policy.hidden == (8,)
    assert config(policy="mlp:16-4").policy.hidden == (16, 4)


def test_settings_override_flags_and_preset():
    one = config(
        "operator.sigma=0.25",
        "meta.pairs=7",
        "policy.hidden=[3, 5]",
        "initial=scaled",
        "operator.normalise=false",
        "meta.learning_rate_final=null",
        "episodes=500",
        "meta.pairs=9",
        episodes=77,
        policy="linear",
    )
    assert one.operator.sigma == 0.25
    assert one.meta.pairs == 9  # the last one wins
    assert one.policy.hidden == (3, 5)
    assert one.initial == "scaled"
    assert one.operator.normalise is False
    assert one.meta.learning_rate_final is None
    assert one.episodes == 500
    assert one.operator.queries == FourCorners.preset["operator"]["queries"]


def test_the_preset_itself_is_not_changed():
    before = repr(FourCorners.preset)
    config("operator.sigma=9", "policy.hidden=[1]", policy="linear", episodes=1)
    assert repr(FourCorners.preset) == before
    assert config().operator.sigma == FourCorners.preset["operator"]["sigma"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("operator.sigma", "expected key=value, for example --set operator.sigma=0.2"),
        ("", "expected key=value"),
        ("operator.sigma=[1", "is not a number, a word or a [list]"),
        ("operator.sigma=2020-13-45", "is not a number, a word or a [list]"),
        ("operator.sigma.x=1", "'sigma' is not a group of settings"),
        ("operator.sigma=wide", "training option operator.sigma"),
        ("operator.sigma=-1", "training option operator.sigma"),
        ("operator.sigma=.nan", "training option operator.sigma"),
        ("operator.sgima=0.1", "training option operator.sgima: no such key; did you mean operator.sigma? (known: "),
        ("meta.pair=4", "training option meta.pair: no such key; did you mean meta.pairs? (known: averaging, "),
        ("foo.bar=1", "training option foo: no such key (known: episodes, family, "),
        ("sigma=0.2", "training option sigma: no such key; did you mean operator.sigma or meta.sigma? (known: "),
        ("operator.name=magic", "training option operator.name"),
        ("operator=5", "training option operator"),
        ("colour=red", "training option colour"),
        ("colour.depth=3", "training option colour"),
        ("=3", "training option"),
        ("meta.pairs=1.5", "training option meta.pairs"),
        ("policy.hidden=[0]", "training option policy.hidden.0"),
        ("seed=-1", "training option seed"),
        ("options=5", "--set options=5: expected options.KEY=VALUE"),
        ("options.colour=red", "task family four_corners: option colour: "),
        ("validation.tasks=1", "training option validation.tasks"),
        ("meta.method=second_order", "training option meta.method"),
        (
            "meta.method=first_order_hessian",
            "training options: meta.method first_order_hessian needs operator.name es_gradient",
        ),
    ],
)
def test_bad_settings_are_one_line_that_names_them(setting, words):
    with pytest.raises(ConfigError) as caught:
        config(setting)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "spec_hash'" not in str(caught.value)  # nor all settings there are


def test_a_policy_that_took_the_whole_budget_already_is_said_without_all_settings():
    values = {**config().model_dump(mode="json"), "episodes": 500}
    values["warm_start"] = {"run": "runs/first", "policy_hash": "0", "episodes": 600}
    with pytest.raises(ConfigError, match=r"^training options: episodes is 500; .* took 600 already, which count\.$"):
        parse_run_config(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"episodes": None, "episode": 4000}, "training option episode: no such key; did you mean episodes? (known: "),
        ({"operator": {"sigm": 0.2}}, "training option operator.sigm: no such key; did you mean operator.sigma?"),
    ],
)
def test_a_slip_in_a_preset_is_said_to_be_there(monkeypatch, change, says):
    preset = {"policy": {"hidden": [8]}, "operator": {"sigma": 0.2}, "meta": {"pairs": 8}, "episodes": 4000, **change}
    monkeypatch.setattr(FourCorners, "preset", {k: v for k, v in preset.items() if v is not None})
    with pytest.raises(ConfigError) as caught:
        config()
    assert str(caught.value).startswith(says)
    assert "{" not in str(caught.value)
    assert caught.value.__notes__ == ["It stands in the preset of task family four_corners."]


def test_a_slip_beside_a_sound_preset_is_not_the_presets():
    with pytest.raises(ConfigError) as caught:
        config("meta.pair=4")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("policy", ["mlp:", "mlp:a", "mlp:8,8", "cnn", ""])
def test_bad_policies(policy):
    with pytest.raises(ConfigError, match=re.escape(f"--policy {policy!r}")):
        config(policy=policy)


def test_the_baseline_differs_in_the_operator_only():
    one = config()
    baseline = baseline_config(one)
    assert isinstance(baseline.operator.build(), NoAdaptation)
    assert baseline.model_dump(exclude={"operator"}) == one.model_dump(exclude={"operator"})
    assert baseline.iterations == pytest.approx(one.iterations * 22, rel=0.01)


def test_the_baseline_of_the_hessian_variant_has_no_hessian():
    one = config("meta.method=first_order_hessian", "operator.name=es_gradient")
    baseline = baseline_config(one)
    assert (baseline.meta.method, baseline.operator.name) == ("first_order", "none")
    assert baseline.meta.model_dump(exclude={"method"}) == one.meta.model_dump(exclude={"method"})
    assert RunConfig.model_validate(baseline.model_dump(mode="json")) == baseline


# --- ports


@pytest.mark.parametrize("url", ["/dev/ttyACM0", "COM3", "socket://host:4000", "simple", "rfc2217://h:1?sim:"])
def test_other_ports_are_left_to_pyserial(url):
    assert parse_sim_port(url) is None


def test_parts_of_a_sim_port():
    assert parse_sim_port("sim://rover_uno") == SimPort("rover_uno", "host", 0, None, False, None, None)
    url = (
        "sim://rover_uno?seed=4294967295&board=atmega328p&task=%7B%22goal_x%22%3A1%7D&paced=1&unplug_at=3:40&log=/tmp/l"
    )
    expected = SimPort("rover_uno", "atmega328p", 2**32 - 1, '{"goal_x":1}', True, "3:40", Path("/tmp/l"))
    assert parse_sim_port(url) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sim:", "names no robot; expected for example sim://rover_uno?seed=3"),
        ("sim://", "names no robot"),
        ("sim:rover_uno", "names no robot"),
        ("sim://?seed=1", "names no robot"),
        ("sim://[rover", "is no URL"),
        ("sim://rover_uno?sede=1", "unknown key 'sede'; known: seed, board"),
        ("sim://rover_uno?seed", "seed is '', not a whole number"),
        ("sim://rover_uno?seed=x", "seed is 'x', not a whole number"),
        ("sim://rover_uno?seed=1.5", "seed is '1.5', not a whole number"),
        ("sim://rover_uno?seed=-1", "seed must be 0 to 4294967295"),
        ("sim://rover_uno?seed=4294967296", "seed must be 0 to 4294967295"),
        ("sim://rover_uno?paced=yes", "paced is 'yes'; it is 0"),
    ],
)
def test_bad_sim_ports_are_one_line_that_names_them(url, words):
    with pytest.raises(ConfigError) as caught:
        parse_sim_port(url)
    assert words in str(caught.value)
    assert repr(url) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("robot", "board", "words"),
    [
        (
            "rover_uno",
            "moon",
            "no board 'moon'; known boards: atmega2560, atmega328p, host, mps2_an386; one of your own",
        ),
        ("rover_uno", "./moon", "moon/board.toml; `esmaml board new` makes a folder with one"),
        ("reacher", "atmega328p", "not wired for robot reacher; it is for: cartpole, rover_uno."),
    ],
)
def test_a_board_that_is_not_there_or_not_wired_is_named(tmp_path, robot, board, words):
    robot_spec = load_robot(robot)
    layout = PolicySpec(inputs=len(robot_spec.observed), outputs=len(robot_spec.actuators))
    policy = Policy(layout, [0.0] * layout.dimension, Normaliser.identity(layout.inputs))
    with (
        pytest.raises((ConfigError, ExportError)) as caught,
        real_port(f"sim://{robot}?board={board}", robot_spec, policy, tmp_path / "build"),
    ):
        pass
    assert words in str(caught.value)
    assert not (tmp_path / "build" / "firmware").exists()


def test_a_port_of_another_robot_is_refused_before_anything_is_built(tmp_path):
    spec = PolicySpec(inputs=2, outputs=2)
    policy = Policy(spec, [0.0] * spec.dimension, Normaliser.identity(2))
    with (
        pytest.raises(ConfigError, match="is robot rover_nav, the one asked for is rover_uno"),
        real_port("sim://rover_nav?seed=1", SPEC, policy, tmp_path / "build"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    with real_port("/dev/ttyACM0", SPEC, policy, tmp_path / "build") as port:
        assert port == "/dev/ttyACM0"


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """A machine with an Uno, which has a stable name, and a port of its mainboard."""
    uno, by_id = tmp_path / "ttyACM0", tmp_path / "by-id"
    uno.touch()
    by_id.mkdir()
    stable = by_id / "usb-Arduino_Uno_8533-if00"
    stable.symlink_to("../ttyACM0")
    devices = [ListPortInfo("/dev/ttyS0"), ListPortInfo(str(uno))]
    devices[1].description = "Arduino Uno"
    monkeypatch.setattr("esmaml_robot.bridge.transport.list_ports.comports", lambda: devices)
    monkeypatch.setattr("esmaml_robot.bridge.port_problems.BY_ID", by_id)
    return str(stable), str(uno)


def test_a_port_is_listed_once_by_its_stable_name_with_what_is_plugged_in(plugged_in):
    stable, device = plugged_in
    assert listed_ports() == [ListedPort(stable, device, "Arduino Uno"), ListedPort("/dev/ttyS0", "/dev/ttyS0", "")]
    assert available_ports() == [stable, "/dev/ttyS0"]
    shown = CliRunner().invoke(app, ["robot", "list"])
    assert shown.stdout.splitlines() == [f"{stable}  (now {device}, Arduino Uno)", "/dev/ttyS0"]
    as_json = json.loads(CliRunner().invoke(app, ["robot", "list", "--json"]).stdout)
    assert as_json[0] == {"port": stable, "device": device, "what": "Arduino Uno"}
