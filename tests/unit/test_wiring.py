"""[wiring.ROBOT] of a board as a servo bus: what fits, and what is refused in which words."""

import json

import pytest
from pydantic import ValidationError

from esmaml_robot.errors import ConfigError, ExportError
from esmaml_robot.robot_spec import RobotSpec, load_robot
from firmware_export.board_file import BoardSettings, hal_sources, load_board, render_bus, render_wiring
from firmware_export.wiring import BusWiring, PinWiring, bus_bytes, bus_description, bus_header
from sim.virtual_robot.dynamixel.body import ServoBody, ServoFault
from sim.virtual_robot.dynamixel.description import load_bus
from sim.virtual_robot.plants import make_plant

SPEC = load_robot("ant")
BOARD = load_board("mps2_an386")
WIRING = BOARD.settings.wiring["ant"]


def wiring(**changes):
    return BusWiring.model_validate({**WIRING.model_dump(), **changes})


def spec(actuator, watchdog):
    """The ant with changes to its first actuator and its watchdog."""
    data = SPEC.model_dump()
    first, *others = data["actuators"]
    data["actuators"] = [{**first, **actuator}, *others]
    data["watchdog"] = {**data["watchdog"], **watchdog}
    return RobotSpec.model_validate(data)


def without(mapping, key):
    return {k: v for k, v in mapping.items() if k != key}


def test_pins_and_buses_are_told_apart():
    assert isinstance(WIRING, BusWiring)
    assert isinstance(load_board("atmega328p").settings.wiring["rover_uno"], PinWiring)
    settings = BOARD.settings.model_dump()
    settings["wiring"]["ant"] = without(settings["wiring"]["ant"], "baud")
    with pytest.raises(ValidationError, match=r"wiring\.ant\.bus\.baud"):
        BoardSettings.model_validate(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"servos": without(WIRING.servos, "hip_3")}, "no entry in servos for 'hip_3'"),
        ({"servos": {**WIRING.servos, "tail": 9}}, "names 'tail' in servos"),
        ({"servos": {**WIRING.servos, "hip_1": 12}}, "has id 12 twice"),
        ({"devices": {**WIRING.devices, "imu": 42}}, "has id 42 twice"),
        ({"devices": {**WIRING.devices, "gps": 7}}, "no sensor is on device 'gps'"),
        ({"sensors": without(WIRING.sensors, "yaw")}, "no entry in sensors for 'yaw'"),
        ({"sensors": {**WIRING.sensors, "yaw": "gyro.0"}}, "expected DEVICE.REGISTER with one of imu, tracker"),
        ({"sensors": {**WIRING.sensors, "yaw": "imu.16"}}, "0 to 15"),
        ({"reversed": ["knee"]}, "reverses 'knee', which is no actuator"),
        ({"effort": {"knee": 0.5}}, "limits the effort of 'knee', which is no actuator"),
        ({"steps_per_turn": 4096 * 2}, "set unit: rad, scale: 0.000766990"),
        ({"centre": 300}, "0 to 4095"),
        ({"baud": 115200}, r"needs 300 bytes a control period, 26.0 ms of 33.3 ms .* Use 180000 baud or more"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_would(changes, words):
    with pytest.raises(ExportError, match=words):
        bus_header("mps2_an386", wiring(**changes), SPEC)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_an_effort_is_a_share(share):
    with pytest.raises(ValidationError, match=r"effort\.hip_1"):
        wiring(effort={"hip_1": share})


def test_an_effort_is_rounded_down_and_never_to_what_means_none():
    given = wiring(effort={"hip_1": 0.5, "ankle_1": 0.0001})
    assert "#define WIRING_EFFORTS {442, 1, 0," in bus_header("mps2_an386", given, SPEC)


def test_a_robot_whose_counts_are_no_steps_is_refused():
    with pytest.raises(ExportError, match=r"hip_1 of robot ant has counts of 0\.0001 rad .* scale: 0\.00153398"):
        bus_header("mps2_an386", WIRING, spec({"scale": 0.0001, "counts": (-32000, 32000)}, {}))
    with pytest.raises(ExportError, match="a servo's watchdog waits 2540 ms at the most"):
        bus_header("mps2_an386", WIRING, spec({}, {"release_ms": 2600}))


def test_what_is_read_of_devices_counts():
    more = wiring(sensors={**WIRING.sensors, "merit": "tracker.4"})
    assert bus_bytes(more, SPEC) == bus_bytes(WIRING, SPEC) + 12


def test_a_board_that_can_do_without_a_wiring_does():
    cheetah = load_robot("half_cheetah")
    assert "#define WIRING_BUS 0" in render_wiring(BOARD, cheetah)
    assert render_bus(BOARD, cheetah) is None
    names = {path.name for path in hal_sources(BOARD, cheetah)}
    assert "world_record.c" in names
    assert "world_bus.c" not in names
    with pytest.raises(ExportError, match="not wired for robot half_cheetah"):
        render_wiring(load_board("atmega328p"), cheetah)


def test_the_description_is_of_one_robot(tmp_path):
    path = tmp_path / "bus.json"
    path.write_text(bus_description(WIRING, SPEC))
    assert [servo.id for servo in load_bus(path, SPEC).servos] == list(WIRING.servos.values())
    with pytest.raises(ConfigError, match="another robot than half_cheetah"):
        load_bus(path, load_robot("half_cheetah"))
    path.write_text(json.dumps({"baud": 1}))
    with pytest.raises(ConfigError, match="no description of a servo bus"):
        load_bus(path, SPEC)


@pytest.mark.parametrize("text", ["", "unplug", "melt:22:1:1", "unplug:22:1", "unplug:a:1:1"])
def test_servo_faults_are_read_strictly(text):
    with pytest.raises(ConfigError, match="must be unplug or overload"):
        ServoFault.parse(text)


def test_a_body_without_servos_has_no_bus(tmp_path):
    path = tmp_path / "bus.json"
    path.write_text(bus_description(WIRING, SPEC))
    body = ServoBody(SPEC, make_plant(load_robot("rover_uno"), 0, None), load_bus(path, SPEC))
    with pytest.raises(ConfigError, match="rover_uno has no position servos"):
        body.reset(0)
