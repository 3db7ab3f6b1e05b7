"""Round trips over the link beside a bare C program on a pseudo-terminal, in one run; a thousand a second for a minute.

    python -m benchmarks.link
    python -m benchmarks.link --boards host --seconds 10 --json link.json
    python -m benchmarks.link --publish              also docs/results/link.json and the tables of docs/link.md

The question is STATUS, the answer STATUS_REPLY: framed, checked, decoded, stamped, and remembered by the black box. The
echo is C that sends as many bytes back as the answer has, and nothing is done with them. Both are asked in turns, so
that they meet the same weather; a ratio is of the same percentile. This program is held to one core, and what answers
it to another, as robot and computer are two machines; --share-a-core puts both on one. The second table, without such
bounds, asks the host board and the echo once in each millisecond: late are answers that took longer than a millisecond,
lost those that did not come within a second, and overslept the milliseconds that this program itself did not begin in
time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from esmaml_robot.bridge.codec import Codec
from esmaml_robot.bridge.controller import RobotController
from esmaml_robot.bridge.framing import encode_frame
from esmaml_robot.bridge.transport import open_port
from esmaml_robot.files import atomic_write_text
from esmaml_robot.policy import Normaliser, Policy, PolicySpec, initial_theta
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import build_firmware
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c
from sim.virtual_robot.launcher import VirtualRobot

SPEC = load_robot("rover_uno")
LAYOUT = PolicySpec(inputs=2, outputs=2, hidden=(8,))
BOARDS = ("host", "mps2_an386", "atmega328p", "atmega2560")
PERCENTILES = (50, 99, 99.9)
ROUNDS = 20
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "results" / "link.json"
DOCUMENT = ROOT / "docs" / "link.md"
_PLACE = re.compile(r"(<!-- generated: round trips -->\n).*?(\n<!-- end: round trips -->)", re.DOTALL)


def on_the_line(name: str) -> int:
    """Bytes of a message as a frame."""
    return len(encode_frame(b"\x01" * Codec(0, 0).size(name)))


#: Bytes of a STATUS question and of its answer.
QUESTION, ANSWER = on_the_line("status"), on_the_line("status_reply")

ECHO = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>
int main(void)
{
    struct termios raw;
    unsigned char data[QUESTION], answer[ANSWER] = {0};
    const int line = posix_openpt(O_RDWR | O_NOCTTY);
    if (line < 0 || grantpt(line) || unlockpt(line)) { return 1; }
    tcgetattr(line, &raw);
    cfmakeraw(&raw);
    tcsetattr(line, TCSANOW, &raw);
    printf("%s\\n", ptsname(line));
    fflush(stdout);
    for (;;) {
        size_t got = 0;
        while (got < sizeof data) {
            const ssize_t n = read(line, data + got, sizeof data - got);
            if (n > 0) { got += (size_t)n; } else { usleep(1000); }
        }
        if (write(line, answer, sizeof answer) < 0) { return 1; }
    }
}
"""


class Echo:
    """The bare echo: as many bytes each way as a STATUS and its answer."""

    def __init__(self, folder: Path) -> None:
        source, program = folder / "echo.c", folder / "echo"
        source.write_text(ECHO)
        sizes = [f"-DQUESTION={QUESTION}", f"-DANSWER={ANSWER}", "-D_GNU_SOURCE"]
        subprocess.run(["cc", "-O2", *sizes, str(source), "-o", str(program)], check=True)
        self._child = subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        self._line = open_port(self._child.stdout.readline().strip())

    def round_trip(self) -> float | None:
        """Seconds; None where the answer did not come within one."""
        start, got = time.perf_counter(), 0
        self._line.write(b"\x01" * QUESTION)
        while got < ANSWER:
            data = self._line.read(time.monotonic() + 1.0)
            if not data:
                return None
            got += len(data)
        return time.perf_counter() - start

    def close(self) -> None:
        self._line.close()
        self._child.kill()
        self._child.wait()


def round_trip(controller: RobotController) -> float | None:
    """Seconds that STATUS and its answer take; None where it did not come within one."""
    start = time.perf_counter()
    controller.link.send("status")
    frame = controller.link.receive(time.monotonic() + 1.0)
    return None if frame is None or frame.name != "status_reply" else time.perf_counter() - start


def percentiles(seconds: list[float]) -> list[float]:
    """PERCENTILES of them, in microseconds."""
    return [round(1e6 * float(np.percentile(seconds, p)), 1) for p in PERCENTILES]


def in_turns(controller: RobotController, echo: Echo, count: int) -> dict[str, Any]:
    """Percentiles of a board and of the echo, asked in turns, and their ratios."""
    controller.link.drain()
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare += [echo.round_trip() for _ in range(count // ROUNDS)]
        ours += [round_trip(controller) for _ in range(count // ROUNDS)]
    answered, echoed = ([s for s in found if s is not None] for found in (ours, bare))
    board_us, echo_us = percentiles(answered), percentiles(echoed)
    return {
        "asked": len(ours),
        "lost": len(ours) - len(answered),
        "board_us": board_us,
        "echo_us": echo_us,
        "ratio": [round(b / e, 2) for b, e in zip(board_us, echo_us, strict=True)],
    }


def each_millisecond(controller: RobotController, echo: Echo, seconds: float) -> dict[str, Any]:
    """Board and echo asked once in each millisecond, at deadlines that do not drift."""
    controller.link.drain()
    found: dict[str, list[float | None]] = {"board": [], "echo": []}
    overslept = 0
    start = time.perf_counter()
    for number in range(round(1000 * seconds)):
        due = start + number / 1000.0
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        overslept += time.perf_counter() - due > 1e-3
        found["board"].append(round_trip(controller))
        found["echo"].append(echo.round_trip())
    result: dict[str, Any] = {"overslept": overslept}
    for name, trips in found.items():
        answered = [s for s in trips if s is not None]
        result[name] = {
            "asked": len(trips),
            "lost": len(trips) - len(answered),
            "late": sum(s > 1e-3 for s in answered),
            "us": percentiles(answered),
            "worst_us": round(1e6 * max(answered), 1),
        }
    return result


@contextlib.contextmanager
def answering_on(core: int, ours: int) -> Iterator[None]:
    """In the block this process begins others on `core`; behind it, it runs on its own. Children inherit cores."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {ours})


@contextlib.contextmanager
def both_ends(
    firmware: Sequence[str], folder: Path, begun: contextlib.AbstractContextManager[None]
) -> Iterator[tuple[RobotController, Echo]]:
    """A session with a virtual robot, and an echo; their processes are begun within `begun`."""
    with contextlib.ExitStack() as stack:
        with begun:
            echo = stack.enter_context(contextlib.closing(Echo(folder)))
            robot = stack.enter_context(VirtualRobot("rover_uno", firmware, seed=2))
        controller = stack.enter_context(RobotController.open(robot.port, SPEC, LAYOUT))
        controller.connect()
        yield controller, echo


def measure(boards: list[str], count: int, seconds: float, share_a_core: bool = False) -> dict[str, Any]:
    policy = Policy(LAYOUT, initial_theta(LAYOUT, "rest", 8.0, 0), Normaliser.identity(2))
    cores = sorted(os.sched_getaffinity(0))
    theirs, ours = cores[0], cores[0 if share_a_core else -1]
    results: dict[str, Any] = {"cores": len({theirs, ours}), "round_trips": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_policy_c(policy, SPEC, folder)
        write_robot_c(SPEC, folder)
        for name in boards:
            firmware = build_firmware(name, SPEC, folder, folder / name).command
            with both_ends(firmware, folder, answering_on(theirs, ours)) as (controller, echo):
                results["round_trips"][name] = in_turns(controller, echo, count)
            os.sched_setaffinity(0, cores)
            if name == "host" and seconds:
                with both_ends(firmware, folder, contextlib.nullcontext()) as (controller, echo):
                    results["each_millisecond"] = each_millisecond(controller, echo, seconds)
    return results


def tables(results: dict[str, Any]) -> str:
    """The results as Markdown."""

    def three(values: list[float], form: str) -> str:
        return " / ".join(format(v, form) for v in values)

    lines = [
        "| board | round trip p50 / p99 / p99.9, µs | the echo's | ratio | asked | lost |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {three(r['board_us'], '.0f')} | {three(r['echo_us'], '.0f')} | {three(r['ratio'], '.1f')} | "
        f"{r['asked']:,} | {r['lost']} |"
        for name, r in results["round_trips"].items()
    ]
    if (paced := results.get("each_millisecond")) is not None:
        lines += [
            "",
            "| once a millisecond | asked | lost | late | p50 / p99 / p99.9, µs | worst, µs |",
            "|---|---|---|---|---|---|",
        ]
        for name, title in (("board", "host board"), ("echo", "bare echo")):
            r = paced[name]
            counts = f"{r['asked']:,} | {r['lost']} | {r['late']}"
            lines.append(f"| {title} | {counts} | {three(r['us'], '.0f')} | {r['worst_us']:.0f} |")
        lines += ["", f"This program itself began {paced['overslept']} milliseconds more than one too late."]
    return "\n".join(lines)


def publish(results: dict[str, Any]) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    if not _PLACE.search(text):
        raise SystemExit(f"{DOCUMENT} has no place for the tables (<!-- generated: round trips -->)")
    atomic_write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    atomic_write_text(DOCUMENT, _PLACE.sub(lambda m: m[1] + "\n" + tables(results) + "\n" + m[2], text))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", nargs="+", default=list(BOARDS), choices=BOARDS)
    parser.add_argument("--round-trips", type=int, default=10_000, help="of each board, and as many of the echo")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a question a millisecond; 0: not at all")
    parser.add_argument("--share-a-core", action="store_true", help="this program and what answers it, on one core")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--publish", action="store_true", help="into docs/results and docs/link.md")
    options = parser.parse_args()
    results = measure(options.boards, options.round_trips, options.seconds, options.share_a_core)
    print(tables(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.publish:
        publish(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
