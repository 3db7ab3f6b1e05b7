"""docs/protocol.md says what the table of messages says."""

import pytest

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.framing import FrameDecoder
from esmaml_robot.bridge.messages import CODES, MESSAGES
from esmaml_robot.errors import ExportError
from firmware_export.protocol_docs import DOCUMENT, EXAMPLE, PARTS, render_document

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_the_tracked_document_is_what_the_table_renders_to():
    assert render_document(TEXT) == TEXT, "docs/protocol.md is not what its table says: run python -m " + (
        "firmware_export.protocol_docs"
    )


def test_every_message_field_and_code_is_in_the_document():
    for message in MESSAGES:
        assert f"| 0x{message.id:02X} | `{message.name}` |" in TEXT
        for field in message.fields:
            assert f"`{field.name}`" in TEXT
    for code in CODES:
        for member in code:
            assert f"| {int(member)} | `{member.name}` |" in TEXT


def test_a_meaning_beside_a_code_comes_from_the_source():
    assert "| 1 | `BUSY` | another host holds the controller (its session) |" in TEXT


def test_the_example_frame_decodes_to_its_fields():
    (line,) = [row for row in TEXT.splitlines() if row.startswith("frame     ")]
    (payload,) = FrameDecoder().feed(bytes.fromhex(line.removeprefix("frame")))
    frame = Codec(1, 1).decode(payload)
    assert frame is not None
    assert frame.name == "keep_alive"
    found = {"session": frame.session, "sequence": frame.sequence, "t_us": frame.t_us, **frame.values}
    assert found == EXAMPLE


@pytest.mark.parametrize("name", PARTS)
def test_a_document_without_a_marker_is_refused(name):
    with pytest.raises(ExportError, match=f"generated: {name}"):
        render_document(TEXT.replace(f"<!-- generated: {name} -->", ""))


def test_what_is_written_by_hand_is_left_alone():
    spoilt = TEXT.replace("| 0x01 | `hello` |", "| 0x7F | `hello` |").replace("# The line", "# A line", 1)
    assert render_document(spoilt) == TEXT.replace("# The line", "# A line", 1)
