"""The journal: what was appended is read back; a torn end is cut off, damage in the middle is refused."""

from __future__ import annotations

import resource
import signal
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot.deployment.journal import Journal, read_journal
from esmaml_robot.errors import CheckpointError

RECORDS = [
    {"kind": "session", "seed": 3, "policy_hash": "00ff"},
    {"kind": "episode", "index": 0, "return": -399.9999694824219, "valid": True, "problem": None},
    {"kind": "episode", "index": 1, "return": None, "valid": False, "problem": 'line\nbreak, "quote", ü\u2028'},
    {"kind": "episode", "index": 2, "return": 1e-45, "sigmas": [0.1, -0.1, 5e-324], "big": 2**63},
]


@pytest.fixture
def path(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        for record in RECORDS:
            journal.append(record)
    return tmp_path / "journal"


def test_what_is_appended_is_read(path):
    assert read_journal(path) == RECORDS
    with Journal(path) as journal:
        assert journal.records == RECORDS


def test_no_journal_yet(tmp_path):
    assert read_journal(tmp_path / "journal") == []
    with Journal(tmp_path / "journal") as journal:
        assert journal.records == []
    assert (tmp_path / "journal").read_bytes() == b""


def test_a_line_is_checksum_and_json(path):
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == 4
    for line in lines:
        assert int(line[:8], 16) == zlib.crc32(line[9:])
        assert line[8:9] == b" "


def test_records_are_on_disk_when_append_returns(tmp_path):
    journal = Journal(tmp_path / "journal")
    for n, record in enumerate(RECORDS, start=1):
        journal.append(record)
        assert read_journal(tmp_path / "journal") == RECORDS[:n]
    journal.close()


def test_a_last_line_torn_at_every_byte_is_left_out_and_overwritten(path):
    whole = path.read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1
    for end in range(begin, len(whole)):
        path.write_bytes(whole[:end])
        assert read_journal(path) == RECORDS[:3]
        with Journal(path) as journal:
            assert journal.records == RECORDS[:3]
            assert path.read_bytes() == whole[:begin]
            journal.append(RECORDS[3])
        assert path.read_bytes() == whole


def test_torn_at_every_byte_of_the_file(path):
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        assert read_journal(path) == RECORDS[: whole[:end].count(b"\n")]


def read_or_refusal(path):
    """The records, or the message with which they are refused."""
    try:
        return read_journal(path)
    except CheckpointError as error:
        return str(error)


def test_every_damaged_byte_in_the_middle_is_refused_or_harmless(path):
    whole = path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    refused = 0
    for place in range(last - 1):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            found = read_or_refusal(path)
            if isinstance(found, str):
                assert "is damaged" in found
                assert "\n" not in found
                refused += 1
            else:
                assert found == RECORDS  # the case of a hex digit
    assert refused > 7.5 * (last - 1)


def test_every_damaged_byte_of_the_last_line_costs_at_most_that_record(path):
    whole = path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for place in range(last, len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
            found = read_or_refusal(path)
            if isinstance(found, str):  # a byte that became a line end makes two bad lines of one
                assert "is damaged" in found
            else:
                assert found in (RECORDS[:3], RECORDS)


def test_a_damaged_middle_record_is_named(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"-399.9999694824219", b"-199.9999694824219")
    path.write_bytes(b"".join(lines))
    with pytest.raises(CheckpointError, match=r"record 2 of 4 is damaged.*move the file away"):
        read_journal(path)
    with pytest.raises(CheckpointError, match="record 2 of 4 is damaged"):
        Journal(path)
    assert path.read_bytes() == b"".join(lines)


def test_a_lost_middle_line_end_is_refused(path):
    whole = path.read_bytes()
    first = whole.index(b"\n")
    path.write_bytes(whole[:first] + whole[first + 1 :])
    with pytest.raises(CheckpointError, match="record 1 of 3"):
        read_journal(path)


def test_a_line_with_a_good_checksum_that_is_no_object_is_refused(path):
    body = b"[1,2]"
    path.write_bytes(b"%08x " % zlib.crc32(body) + body + b"\n" + path.read_bytes())
    with pytest.raises(CheckpointError, match="record 1 of 5"):
        read_journal(path)


def test_reopening_goes_on_after_what_is_there(path):
    for n in range(3):
        with Journal(path) as journal:
            journal.append({"kind": "more", "n": n})
    assert read_journal(path) == [*RECORDS, *({"kind": "more", "n": n} for n in range(3))]


@given(
    st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text())
)
def test_any_record_survives_reopening(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("j") / "journal"
    for expected in ([record], [record, record]):
        with Journal(path) as journal:
            journal.append(record)
        assert read_journal(path) == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_json_cannot_hold_leaves_the_journal_as_it_was(path, value):
    before = path.read_bytes()
    with Journal(path) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append({"return": value})
        assert journal.records == RECORDS
    assert path.read_bytes() == before


def test_a_full_disk_leaves_the_journal_as_it_was(path):
    before = path.read_bytes()
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Journal(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, old[1]))
        try:
            with pytest.raises(CheckpointError, match=r"cannot write the journal .*free some space.*--resume"):
                journal.append(RECORDS[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == before
        journal.append(RECORDS[1])
    assert read_journal(path) == [*RECORDS, RECORDS[1]]


def test_a_path_that_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot (open|read) journal"):
        Journal(tmp_path)
    with pytest.raises(CheckpointError, match="cannot open journal"):
        Journal(tmp_path / "no" / "journal")
