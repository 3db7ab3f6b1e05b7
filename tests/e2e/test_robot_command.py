"""`esmaml robot`: what a person asks of a controller that is plugged in, without a run folder."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from esmaml_robot.bridge.black_box import read_black_box
from esmaml_robot.bridge.link import Link
from esmaml_robot.bridge.messages import State
from esmaml_robot.bridge.transport import open_port
from esmaml_robot.checkpoint import RunFolder
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.tasks import make_family
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")


@pytest.fixture(scope="module")
def plugged_in(make_run, tmp_path_factory):
    """A robot on the desk: its port, and the policy in it."""
    folder = tmp_path_factory.mktemp("desk")
    policy = RunFolder(make_run(folder / "run")).newest().policy
    write_policy_c(policy, SPEC, folder)
    write_robot_c(SPEC, folder)
    firmware = build_firmware("mps2_an386", SPEC, folder, folder / "firmware")
    with VirtualRobot("rover_uno", firmware.command, seed=1) as robot:
        yield robot.port, policy


def asked(esmaml, command, port, *more):
    return json.loads(esmaml("robot", command, "--port", port, "--json", *more).stdout)


def test_who_is_there(esmaml, plugged_in):
    port, policy = plugged_in
    found = asked(esmaml, "info", port)
    assert (found["board"], found["robot"], found["state"]) == ("mps2_an386", "rover_uno", "IDLE")
    assert found["policy_hash"] == policy.policy_hash
    assert (found["parameters"], found["control_rate_hz"]) == (42, 10.0)
    assert "rover_uno" in esmaml("robot", "info", "--port", port).stdout


def test_self_test_status_and_parameters(esmaml, plugged_in, tmp_path):
    port, policy = plugged_in
    assert asked(esmaml, "selftest", port)["largest_error"] <= 1e-5
    status = asked(esmaml, "status", port)
    assert (status["state"], status["fault"], status["bad_frames"]) == ("IDLE", "NONE", 0)
    shown = asked(esmaml, "params", port, "--save", tmp_path / "theta.npy")
    assert np.float32(shown["parameters"]).tobytes() == policy.theta.tobytes()
    assert np.load(tmp_path / "theta.npy").tobytes() == policy.theta.tobytes()
    asked(esmaml, "params", port, "--save", tmp_path / "theta")
    assert np.load(tmp_path / "theta").tobytes() == policy.theta.tobytes()  # under the name that was asked for
    refused = esmaml("robot", "params", "--port", port, "--save", tmp_path / "none" / "theta.npy", check=False)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert asked(esmaml, "params", port, "--keep")["kept"]
    assert asked(esmaml, "params", port, "--forget")["forgotten"]


def test_emergency_stop_latches_until_somebody_clears_it(esmaml, plugged_in):
    port, _ = plugged_in
    esmaml("robot", "estop", "--port", port)
    assert asked(esmaml, "info", port)["state"] == "ESTOP"
    refused = esmaml("robot", "stop", "--port", port, check=False)
    assert refused.returncode == 7
    assert "emergency stop is latched" in refused.stderr
    esmaml("robot", "clear-estop", "--port", port)
    assert asked(esmaml, "info", port)["state"] == "IDLE"
    esmaml("robot", "stop", "--port", port)


def test_monitor_shows_what_the_pins_say(esmaml, plugged_in):
    port, _ = plugged_in
    shown = asked(esmaml, "monitor", port, "--seconds", "0.3")
    assert shown["state"] == "IDLE"
    task = make_family("four_corners").sample("test", 1).parameters
    start = {"x": round(1000 * task["start_x"]), "y": round(1000 * task["start_y"]), "beacon": 0}
    assert shown["sensors"] == start
    assert shown["actuators"] == {"vx": 0, "vy": 0}
    assert (shown["control_period_us"], shown["overruns"], shown["fault"]) == (100_000.0, 0, "NONE")
    assert shown["round_trip_us"] > 0
    seen = esmaml("robot", "monitor", "--port", port, "--seconds", "0.1").stderr
    for word in (
        "rover_uno: IDLE",
        "beacon",
        "m^2",
        "-2.5 .. 2.5",
        "control period 100 ms",
        "overruns 0",
        "clock: controller",
    ):
        assert word in seen


def test_round_trips(esmaml, plugged_in):
    port, _ = plugged_in
    times = asked(esmaml, "latency", port, "--count", "200")
    assert (times["asked"], times["lost"]) == (200, 0)
    assert 0 < times["p50_us"] <= times["p99_us"] <= times["p100_us"]
    assert times["clock_bound_us"] > 0
    assert times["clock_rate_bound_ppm"] > 0


def test_a_virtual_robot_needs_a_policy(esmaml, make_run, tmp_path):
    refused = esmaml("robot", "info", "--port", "sim://rover_uno", check=False)
    assert refused.returncode == 2
    assert "needs --run" in refused.stderr
    run = make_run(tmp_path / "run")
    assert asked(esmaml, "info", "sim://rover_uno?seed=3", "--run", run)["board"] == "host"


def test_nobody_at_the_port(esmaml, tmp_path):
    refused = esmaml("robot", "info", "--port", tmp_path / "ttyNone", check=False)
    assert refused.returncode == 6
    assert "there is no such port" in refused.stderr


@contextlib.contextmanager
def stopped(port):
    """The emergency stop latched for a while, by another program than the command."""
    for command in ("estop", "clear_estop"):
        link = Link(open_port(port), None, None)
        link.connect()
        link.exchange(command)
        link.transport.close()
        if command == "estop":
            yield


def state_of(port):
    link = Link(open_port(port), None, None)
    reply = link.probe()
    link.transport.close()
    return State(reply["state"])


def test_a_black_box_is_written_where_it_is_wanted_and_can_be_read(esmaml, plugged_in, tmp_path):
    port, _ = plugged_in
    box = tmp_path / "box.jsonl"
    with stopped(port):
        refused = esmaml("robot", "stop", "--port", port, "--black-box", box, check=False)
    assert refused.returncode == 7
    assert f"The last messages are in {box}; `esmaml robot log {box}` shows them." in refused.stderr
    shown = json.loads(esmaml("robot", "log", box, "--json").stdout)
    last = shown["messages"][-1]
    assert (last["direction"], last["message"], last["fields"]["result"]) == ("in", "ack", "ESTOPPED")
    assert shown["head"]["error"].startswith("SafetyStop: ")
    assert shown["head"]["board"] == "mps2_an386"
    table = esmaml("robot", "log", box).stdout
    for word in ("disarm", "ack", "ESTOPPED", "SafetyStop", "messages sent", "mps2_an386"):
        assert word in table


def test_a_full_disk_leaves_the_error_as_it_was_and_arming_refused_changes_nothing(esmaml, plugged_in):
    port, _ = plugged_in
    with stopped(port):
        refused = esmaml("robot", "arm", "--yes", "--port", port, "--black-box", "/dev/full", check=False)
        assert state_of(port) is State.ESTOP
    assert refused.returncode == 7
    assert "refused 'arm': the emergency stop is latched" in refused.stderr
    assert "could not be kept as /dev/full (No space left on device)" in refused.stderr


def test_without_a_name_the_black_box_is_in_the_temporary_folder(esmaml, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    master, slave = os.openpty()
    refused = esmaml("robot", "info", "--port", os.ttyname(slave), check=False)
    os.close(master)
    os.close(slave)
    assert refused.returncode == 6
    assert "Not a byte came" in refused.stderr
    (box,) = tmp_path.glob("esmaml-blackbox-*.jsonl")
    assert str(box) in refused.stderr
    assert {m["message"] for m in read_black_box(box)[1]} == {"hello"}


def test_armed_for_a_while_and_disarmed(esmaml, plugged_in):
    port, _ = plugged_in
    done = esmaml("robot", "arm", "--port", port, "--yes", "--seconds", "0.5", "--json")
    assert json.loads(done.stdout)["held_seconds"] >= 0.5
    assert "an episode may start" in done.stderr
    assert state_of(port) is State.IDLE


def test_nobody_to_ask_nothing_armed(esmaml, plugged_in):
    port, _ = plugged_in
    refused = esmaml("robot", "arm", "--port", port, check=False)
    assert refused.returncode == 7
    assert "Nobody can answer" in refused.stderr
    assert "The last messages" not in refused.stderr
    assert state_of(port) is State.IDLE


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_armed_until_told_to_end(plugged_in, how, code):
    port, _ = plugged_in
    command = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", "robot", "arm", "--yes"]
    with subprocess.Popen([*command, "--port", port], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        said = child.stderr.readline()
        while b"ARMED" not in said:
            said = child.stderr.readline()
            assert said, "it ended without having armed the robot"
        assert b"for 60 s" in said
        child.send_signal(how)
        assert child.wait(20) == code
    assert state_of(port) is State.IDLE
