"""What went over the line last, as a file that a person and a program can read."""

import errno
import json
import math

import pytest

from esmaml_robot.bridge.black_box import REMEMBERED, BlackBox, read_black_box
from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import DELIMITER, encode_frame
from esmaml_robot.bridge.link import Link
from esmaml_robot.errors import ConfigError, LinkLost, OperatorStop
from esmaml_robot.robot_spec import load_robot

SPEC = load_robot("rover_uno")
CODEC = Codec.for_robot(SPEC)


def telemetry(tick, flags=0):
    return CODEC.encode(
        "telemetry", 7, tick, 100 * tick, episode_id=1, tick=tick, flags=flags, sensors=(1, 2, 3), actuators=(4, 5)
    )


def filled():
    box = BlackBox(CODEC)
    box.sent(DELIMITER + encode_frame(CODEC.encode("arm", 7, 1, 5)))
    box.received(
        CODEC.encode("ack", 7, 2, 6, acknowledged=0x20, acknowledged_sequence=1, result=9, detail=3),
    )
    box.received(None)
    box.received(telemetry(3, flags=5))
    box.received(b"\xee\x01")
    return box


def test_the_file_has_every_message_with_its_fields_by_name(tmp_path):
    path = tmp_path / "box.jsonl"
    filled().write(path, "/dev/tty", LinkLost("gone"), {"board": "host"})
    head, records, remark = read_black_box(path)
    assert (head["error"], head["board"], head["sent"], head["received"], remark) == (
        "LinkLost: gone",
        "host",
        1,
        4,
        "",
    )
    assert [(r["direction"], r["message"]) for r in records] == [
        ("out", "arm"),
        ("in", "ack"),
        ("in", "(damaged)"),
        ("in", "telemetry"),
        ("in", "(unknown)"),
    ]
    assert records[1]["fields"] == {"acknowledged": "arm", "acknowledged_sequence": 1, "result": "FAULTED", "detail": 3}
    assert records[3]["fields"]["flags"] == ["CLIPPED", "HELD"]
    assert records[3]["fields"]["sensors"] == [1, 2, 3]
    assert (records[3]["session"], records[3]["sequence"], records[3]["t_us"]) == (7, 3, 300)
    assert records[4]["raw"] == "ee01"
    assert [r["unix_time"] for r in records] == sorted(r["unix_time"] for r in records)
    assert 0 <= head["unix_time"] - records[-1]["unix_time"] < 10


def test_only_the_last_messages_of_each_direction_are_kept(tmp_path):
    box = BlackBox(CODEC)
    box.sent(encode_frame(CODEC.encode("arm", 7, 1, 5)))
    for tick in range(REMEMBERED + 50):  # a flood one way leaves the other way alone
        box.received(telemetry(tick))
    records = box.records()
    assert len(records) == REMEMBERED + 1
    assert records[0]["message"] == "arm"
    assert records[1]["fields"]["tick"] == 50


def test_numbers_that_are_none_are_text_so_that_the_file_is_json(tmp_path):
    box = BlackBox(CODEC)
    box.sent(encode_frame(CODEC.encode("run", 7, 1, 5, episode_id=1, episode_seed=0, direction_seed=0, sigma=math.nan)))
    box.write(tmp_path / "box", "p", ValueError("x"), {})
    text = (tmp_path / "box").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert '"sigma": "nan"' in text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no black box"),
        ("{}\n", "does not say"),
        ("hello\n", "line 1: no JSON"),
        ('{"kind": "esmaml black box"}\nhello\n{}\n', "line 2: no JSON"),
        ('{"kind": "esmaml black box"}\n[1]\n', "line 2: no message"),
        ('{"kind": "esmaml black box"}\n{"direction": "in"}\n', "line 2: no message"),
    ],
)
def test_another_file_is_refused_with_its_line(tmp_path, text, what):
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ConfigError, match=what):
        read_black_box(path)


def test_a_file_cut_off_in_a_line_shows_what_is_there(tmp_path):
    path = tmp_path / "box"
    filled().write(path, "p", ValueError("x"), {})
    path.write_bytes(path.read_bytes()[:-10])
    _, records, remark = read_black_box(path)
    assert [r["message"] for r in records] == ["arm", "ack", "(damaged)", "telemetry"]
    assert "line 6 is cut off" in remark


class Nowhere:
    name = "nowhere"

    def write(self, data):
        pass

    def read(self, deadline):
        return b""

    def close(self):
        pass


def failing(link, place, error):
    with link.recorded(place):
        link.send("status")
        raise error


def test_an_error_names_the_file_and_stays_the_error_that_it_was(tmp_path):
    path = tmp_path / "box"
    for error in (LinkLost("gone"), ZeroDivisionError("a crash of this program")):
        with pytest.raises(type(error)) as caught:
            failing(Link(Nowhere(), SPEC, None), lambda: path, error)
        assert caught.value is error
        assert f"The last messages are in {path}" in error.__notes__[0]
        head, records, _ = read_black_box(path)
        assert str(error) in head["error"]
        assert [r["message"] for r in records] == ["status"]


def test_a_full_disk_does_not_hide_the_error():
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in (full, lambda: __import__("pathlib").Path("/dev/full")):
        error = LinkLost("gone")
        with pytest.raises(LinkLost, match="gone"):
            failing(Link(Nowhere(), SPEC, None), place, error)
        assert "could not be kept" in error.__notes__[0]
        assert "No space left on device" in error.__notes__[0]


@pytest.mark.parametrize("error", [OperatorStop("no"), ConfigError("x"), KeyboardInterrupt()])
def test_what_is_no_matter_of_the_line_leaves_no_box(tmp_path, error):
    with pytest.raises(type(error)):
        failing(Link(Nowhere(), SPEC, None), lambda: tmp_path / "box", error)
    assert not hasattr(error, "__notes__")
    assert not (tmp_path / "box").exists()


def test_nothing_said_nothing_kept(tmp_path):
    with pytest.raises(LinkLost), Link(Nowhere(), SPEC, None).recorded(lambda: tmp_path / "box"):
        raise LinkLost("gone")
    assert not (tmp_path / "box").exists()
