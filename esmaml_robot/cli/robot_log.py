"""`esmaml robot log`: a black box as a table."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..bridge.black_box import read_black_box
from .common import err, guarded, out, print_json
from .robot_port import AsJson

_ARROWS = {"out": "->", "in": "<-"}


def _fields(record: dict[str, Any]) -> str:
    if "raw" in record:
        return f"raw {record['raw']}"
    return ", ".join(f"{k} {_text(v)}" for k, v in record.get("fields", {}).items())


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_text(v) for v in value) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(head: dict[str, Any], records: list[dict[str, Any]]) -> Table:
    """Times in milliseconds before the error; controller's clock beside them."""
    end = head["unix_time"]
    table = Table(title=f"the last {len(records)} messages; -> to the controller, <- from it", show_lines=False)
    for column in ("ms", "", "message", "session", "seq", "controller us"):
        table.add_column(column, justify="right" if column not in ("", "message") else "left", no_wrap=True)
    table.add_column("fields", overflow="fold")
    for record in records:
        inward = record["direction"] == "in"
        table.add_row(
            f"{1e3 * (record['unix_time'] - end):.3f}",
            _ARROWS.get(record["direction"], "?"),
            escape(record["message"]),
            f"{record['session']:04x}" if "session" in record else "",
            str(record.get("sequence", "")),
            str(record.get("t_us", "")) if inward else "",
            escape(_fields(record)),
        )
    return table


@guarded
def log(
    file: Annotated[Path, typer.Argument(help="Black box, as an error named it.")], as_json: AsJson = False
) -> None:
    """What went over the line before something went wrong, from the black box that the error named.

    Example: esmaml robot log runs/first/adapted/robot/blackbox.jsonl
    """
    head, records, remark = read_black_box(file)
    if remark:
        err.print(f"{file}: {remark}.")
    if as_json:
        print_json({"head": head, "messages": records})
        return
    out.print(_table(head, records), soft_wrap=False)
    when = datetime.fromtimestamp(head["unix_time"]).astimezone().isoformat(timespec="milliseconds")
    out.print(f"{when}, port {head.get('port')}, board {head.get('board', 'not known')}", markup=False)
    out.print(f"{head.get('sent')} messages sent and {head.get('received')} received in all", markup=False)
    out.print(str(head.get("error")), markup=False)
