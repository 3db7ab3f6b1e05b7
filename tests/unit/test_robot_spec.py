"""Robot files: the shipped ones load, and every kind of mistake is one line that names file, key, found and allowed."""

from __future__ import annotations

import copy
from importlib import resources

import pytest
import yaml

from esmaml_robot.errors import ConfigError
from esmaml_robot.robot_spec import RobotSpec, known_robots, load_robot, parse_robot

SENSOR = {
    "name": "s0",
    "unit": "m",
    "source": "adc.0",
    "counts": [0, 1023],
    "scale": 0.01,
    "offset": 0.0,
    "range": [0.0, 10.0],
    "observed": True,
}
ACTUATOR = {
    "name": "a0",
    "unit": "m/s",
    "sink": "drive.x",
    "counts": [-1000, 1000],
    "scale": 0.001,
    "offset": 0.0,
    "range": [-1.0, 1.0],
    "rate_limit": 20.0,
    "hold": 0.0,
    "safe": 0.0,
}
ROBOT = {
    "format": 1,
    "name": "bot",
    "summary": "a robot for tests",
    "control_rate_hz": 10,
    "physics_rate_hz": 20,
    "episode": {"steps": 100, "reset": "operator"},
    "watchdog": {"hold_ms": 300, "release_ms": 600},
    "sensors": [SENSOR, {**SENSOR, "name": "s1", "observed": False}],
    "actuators": [ACTUATOR, {**ACTUATOR, "name": "a1", "hold": "last"}],
    "abort": [{"name": "far", "sensor": "s1", "allowed": [0.5, 9.5]}],
    "reward": {
        "terms": [
            {"kind": "constant", "weight": 1.0},
            {"kind": "linear", "sensor": "s0", "weight": 2.0},
            {"kind": "square", "sensor": "s0", "weight": 3.0, "target": 1.0},
            {"kind": "progress", "sensor": "s1", "weight": 4.0},
            {"kind": "action_square", "actuator": "a0", "weight": -5.0},
        ],
        "after_abort": -1.0,
    },
}
GONE = object()


def changed(path, value, base=ROBOT):
    """A copy of the robot with the value at a dotted path replaced, added, or (GONE) removed."""
    robot = copy.deepcopy(base)
    *way, last = [int(k) if k.isdigit() else k for k in path.split(".")]
    at = robot
    for key in way:
        at = at[key]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return robot


def refusal(text):
    """The message with which a robot text is refused: always one line that begins with the file."""
    with pytest.raises(ConfigError) as caught:
        parse_robot(text, "robots/bot.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("robots/bot.yaml:")
    return message


def test_shipped_robots_load():
    assert {"half_cheetah", "rover_nav", "rover_uno"} <= set(known_robots())
    assert known_robots() == sorted(known_robots())
    for name in known_robots():
        assert load_robot(name).name == name
    for name in ("rover_nav", "rover_uno"):
        spec = load_robot(name)
        assert [s.name for s in spec.observed] == ["x", "y"]
        assert [a.name for a in spec.actuators] == ["vx", "vy"]
        assert spec.control_period_s == 0.1


def test_the_robot_of_this_test_is_accepted():
    spec = parse_robot(yaml.safe_dump(ROBOT), "bot.yaml")
    assert [s.name for s in spec.observed] == ["s0"]
    assert spec.actuators[1].hold == "last"
    assert [t.kind for t in spec.reward.terms] == ["constant", "linear", "square", "progress", "action_square"]


BAD = [
    # path, value, words that the message must hold
    ("sensors.0.sorce", "adc.1", ["sensors.0.sorce", "no such key", "did you mean sensors.0.source? (known: counts"]),
    ("watchdog.hold", 3, ["watchdog.hold", "no such key", "watchdog.hold_ms?"]),
    (
        "reward.terms.1.wieght",
        1.0,
        ["reward.terms.1.wieght: no such key", "terms.1.weight? (known: kind, sensor, weight)"],
    ),
    ("controlrate_hz", 10, ["controlrate_hz", "no such key", "did you mean control_rate_hz?"]),
    ("linear", 1, ["linear", "no such key", "known: abort, actuators"]),
    ("sensors.0.square", 1, ["sensors.0.square", "no such key", "sensors.0.source?"]),
    ("sensors.1.unit", GONE, ["sensors.1.unit", "missing"]),
    ("sensors.1.unit", "", ["sensors.1.unit", "at least 1 character", "found ''"]),
    ("actuators.0.unit", GONE, ["actuators.0.unit", "missing"]),
    ("actuators.0.safe", GONE, ["actuators.0.safe", "missing"]),
    ("reward", GONE, ["reward", "missing"]),
    ("sensors.0.scale", "fast", ["sensors.0.scale", "expected a number", "found 'fast'"]),
    ("sensors.0.scale", float("nan"), ["sensors.0.scale", "finite", "found nan"]),
    ("sensors.0.scale", 0.0, ["sensors.0", "scale is 0.0", "not be zero"]),
    ("sensors.0.offset", 1e300, ["sensors.0.offset", "found 1e+300"]),
    ("actuators.0.rate_limit", float("inf"), ["actuators.0.rate_limit", "finite", "found inf"]),
    ("actuators.0.rate_limit", 1e300, ["actuators.0.rate_limit", "found 1e+300"]),
    ("actuators.0.rate_limit", 0.0, ["actuators.0.rate_limit", "greater than 0", "found 0.0"]),
    ("reward.terms.0.weight", float("-inf"), ["reward.terms.0.weight", "finite", "found -inf"]),
    ("reward.terms.0.kind", "cubic", ["reward.terms.0", "cubic", "'action_square'"]),
    ("reward.terms", [], ["reward.terms", "at least 1"]),
    ("sensors.0.range", [10.0, 0.0], ["sensors.0", "range is [10.0, 0.0]", "below"]),
    ("sensors.0.range", [1.0, 1.0], ["sensors.0", "range is [1.0, 1.0]"]),
    ("sensors.0.range", [1.0], ["sensors.0.range", "missing"]),
    ("sensors.0.counts", [1023, 0], ["sensors.0", "counts is [1023, 0]", "below"]),
    ("sensors.0.counts", [-1, 40000], ["sensors.0", "[-1, 40000]", "16 bits"]),
    ("sensors.0.counts", [0, 70000], ["sensors.0.counts.1", "65535", "found 70000"]),
    ("sensors.0.counts", [-40000, 0], ["sensors.0.counts.0", "-32768", "found -40000"]),
    ("sensors.0.counts", [0.5, 9], ["sensors.0.counts.0", "whole number", "found 0.5"]),
    ("abort.0.allowed", [9.5, 0.5], ["abort.0", "allowed is [9.5, 0.5]", "below"]),
    ("abort.0.sensor", "s7", ["abort 'far'", "'s7'", "s0, s1"]),
    ("reward.terms.1.sensor", "beacon", ["reward term 'linear'", "'beacon'", "s0, s1"]),
    ("reward.terms.2.sensor", "a0", ["reward term 'square'", "'a0'", "s0, s1"]),
    ("reward.terms.3.sensor", "s9", ["reward term 'progress'", "'s9'", "s0, s1"]),
    ("reward.terms.4.actuator", "s0", ["reward term 'action_square'", "'s0'", "a0, a1"]),
    ("physics_rate_hz", 25, ["physics_rate_hz is 25", "control_rate_hz (10)", "for example 20"]),
    ("physics_rate_hz", 0, ["physics_rate_hz", "greater than or equal to 1", "found 0"]),
    ("control_rate_hz", 10.5, ["control_rate_hz", "whole number", "found 10.5"]),
    ("watchdog.hold_ms", 199, ["watchdog.hold_ms is 199", "two control periods (200 ms)"]),
    ("watchdog.release_ms", 300, ["watchdog", "release_ms is 300", "above hold_ms (300)"]),
    ("sensors.1.name", "s0", ["'s0'", "2 times"]),
    ("actuators.1.name", "s1", ["'s1'", "2 times"]),
    ("sensors.0.name", "My Sensor", ["sensors.0.name", "pattern", "found 'My Sensor'"]),
    ("sensors.0.observed", False, ["no sensor", "observed: true"]),
    ("actuators.0.hold", 1.5, ["actuators.0", "hold is 1.5", "[-1.0, 1.0]"]),
    ("actuators.0.safe", -1.5, ["actuators.0", "safe is -1.5", "[-1.0, 1.0]"]),
    ("actuators.0.hold", "first", ["actuators.0.hold: expected a number or 'last' (found 'first')"]),
    ("actuators.0.range", [-1.0, 2.0], ["actuators.0", "range end 2.0", "2000 counts", "[-1000, 1000]"]),
    ("episode.steps", 0, ["episode.steps", "greater than or equal to 1", "found 0"]),
    ("episode.steps", 60001, ["episode.steps", "60000", "found 60001"]),
    ("episode.reset", "robot", ["episode.reset", "'operator' or 'self'", "found 'robot'"]),
    ("format", 2, ["format", "found 2", "reads format 1"]),
    ("format", GONE, ["format", "found None", "reads format 1"]),
    ("sensors", [], ["sensors", "at least 1"]),
    ("sensors", [{**SENSOR, "name": f"s{i}"} for i in range(33)], ["sensors", "at most 32"]),
    ("actuators", 5, ["actuators", "found 5"]),
]


@pytest.mark.parametrize(("path", "value", "words"), BAD, ids=[f"{p}={str(v)[:12]}" for p, v, _ in BAD])
def test_bad_input_is_refused_in_one_line(path, value, words):
    message = refusal(yaml.safe_dump(changed(path, value)))
    for word in words:
        assert word in message, message


def test_an_unknown_key_comes_before_the_missing_one_that_it_explains():
    robot = changed("sensors.0.unit", GONE)
    robot["sensors"][0]["units"] = "m"
    message = refusal(yaml.safe_dump(robot))
    assert "sensors.0.units: no such key; did you mean sensors.0.unit?" in message
    assert message.endswith("(and 1 more)")


def test_limits_are_accepted_at_their_edge():
    for path, value in [
        ("watchdog.hold_ms", 200),
        ("sensors.0.counts", [0, 65535]),
        ("sensors.0.counts", [-32768, 32767]),
        ("actuators.0.hold", -1.0),
        ("physics_rate_hz", 10),
        ("episode.steps", 60000),
    ]:
        assert isinstance(parse_robot(yaml.safe_dump(changed(path, value)), "bot.yaml"), RobotSpec)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format: [1\nname: x", ["line 2", "not valid YAML"]),
        ("a: b: c", ["line 1", "not valid YAML"]),
        ("format: 1\x00", ["not valid YAML"]),
        ("format: 1\nname: 2020-13-45\n", ["not valid YAML", "month"]),
        ("- format: 1", ["expected a mapping", "found list"]),
        ("", ["expected a mapping", "found NoneType"]),
        ("just words", ["expected a mapping", "found str"]),
    ],
)
def test_a_text_that_is_no_robot(text, words):
    message = refusal(text)
    for word in words:
        assert word in message, message


def test_no_such_robot_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no robot file 'rover_umo': did you mean 'rover_uno'\?"):
        load_robot("rover_umo")
    with pytest.raises(ConfigError, match=r"known robots: .*rover_nav, rover_uno"):
        load_robot("zzz")


def test_files_that_cannot_be_read(tmp_path):
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"name: r\xf6ver")
    missing = tmp_path / "missing.yaml"
    for path in (folder, latin, missing):
        with pytest.raises(ConfigError) as caught:
            load_robot(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_of_the_users_own_loads(tmp_path):
    path = tmp_path / "bot.yaml"
    path.write_text(yaml.safe_dump(ROBOT))
    assert load_robot(path) == parse_robot(yaml.safe_dump(ROBOT), "x")


OTHER = {
    "name": "other",
    "unit": "mm",
    "source": "adc.7",
    "sink": "drive.z",
    "counts": [-2000, 2000],
    "scale": 0.02,
    "offset": 0.0001,
    "range": [-0.9, 0.9],
    "observed": True,
    "rate_limit": 19.0,
    "hold": 0.5,
    "safe": 0.5,
    "steps": 99,
    "reset": "self",
    "hold_ms": 301,
    "release_ms": 601,
    "sensor": "s0",
    "actuator": "a1",
    "allowed": [0.4, 9.6],
    "weight": 7.0,
    "target": 0.5,
    "after_abort": -2.0,
    "control_rate_hz": 20,
    "physics_rate_hz": 40,
    "summary": "another",
}


def leaves(value, path=()):
    """Dotted paths of every number, word and number pair of the robot."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, str(index)))
    else:
        yield ".".join(path)


def test_spec_hash_changes_with_every_field_but_summary_and_physics_rate():
    plain = parse_robot(yaml.safe_dump(ROBOT), "bot.yaml").spec_hash
    seen = {plain}
    paths = [p for p in leaves(ROBOT) if p != "format" and not p.endswith("kind")]
    assert len(paths) > 50
    for path in paths:
        key = path.split(".")[-1]
        value = OTHER[key]
        if path == "sensors.0.observed":
            continue  # the policy needs one observed sensor; the second one's flag is changed below
        if path in ("reward.terms.1.sensor", "reward.terms.2.sensor"):
            value = "s1"
        if path == "actuators.0.name":
            robot = changed(path, value)
            robot["reward"]["terms"][4]["actuator"] = value
        elif path in ("sensors.0.name", "sensors.1.name"):
            robot, old = changed(path, value), f"s{path.split('.')[1]}"
            for user in (*robot["abort"], *robot["reward"]["terms"]):
                if user.get("sensor") == old:
                    user["sensor"] = value
        else:
            robot = changed(path, value)
        assert robot != ROBOT, path
        hashed = parse_robot(yaml.safe_dump(robot), "bot.yaml").spec_hash
        if key in ("summary", "physics_rate_hz"):
            assert hashed == plain, path
        else:
            assert hashed not in seen, path
            seen.add(hashed)


def test_spec_hash_changes_with_order_and_number_of_parts():
    plain = parse_robot(yaml.safe_dump(ROBOT), "bot.yaml").spec_hash
    hashes = {plain}
    for path, value in [
        ("sensors", ROBOT["sensors"][::-1]),
        ("actuators", ROBOT["actuators"][::-1]),
        ("reward.terms", ROBOT["reward"]["terms"][::-1]),
        ("reward.terms", ROBOT["reward"]["terms"][:-1]),
        ("abort", []),
        ("reward.terms.0.kind", GONE),
    ]:
        robot = changed(path, value)
        if value is GONE:
            robot["reward"]["terms"][0] = {"kind": "linear", "sensor": "s0", "weight": 1.0}
        hashes.add(parse_robot(yaml.safe_dump(robot), "bot.yaml").spec_hash)
    assert len(hashes) == 7


def test_spec_hash_ignores_the_order_of_keys_and_how_numbers_are_written():
    robot = {key: ROBOT[key] for key in reversed(ROBOT)}
    text = yaml.safe_dump(robot, sort_keys=False).replace("0.01", "1.0e-2")
    assert parse_robot(text, "x").spec_hash == parse_robot(yaml.safe_dump(ROBOT), "x").spec_hash


def test_key_given_twice_is_refused():
    shipped = resources.files("hardware_configs") / "rover_uno.yaml"
    text = shipped.read_text().replace("  steps: 100", "  steps: 100\n  steps: 200", 1)
    with pytest.raises(ConfigError, match=r"r\.yaml: line 1\d .*'steps' is given twice") as caught:
        parse_robot(text, "r.yaml")
    assert "\n" not in str(caught.value)
