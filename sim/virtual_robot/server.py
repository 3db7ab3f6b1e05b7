"""The process behind a virtual robot: command line, signals, and a plant served until somebody says stop."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from esmaml_robot.errors import ConfigError, EsmamlError
from esmaml_robot.robot_spec import RobotSpec, load_robot

from .board_process import BoardProcess
from .dynamixel.body import ServoFault
from .plant import Plant

#: Makes a plant out of the robot, a seed, and the task as JSON text (None: hidden, drawn from the seed).
PlantMaker = Callable[[RobotSpec, int, str | None], Plant]


def parse_unplug(text: str) -> tuple[int, int]:
    """EPISODE:TICK as two numbers. Raises ConfigError."""
    episode, _, tick = text.partition(":")
    if not (episode.isdecimal() and tick.isdecimal() and int(episode) > 0):
        raise ConfigError(f"--unplug-at is {text!r}; it must be EPISODE:TICK, two numbers, the first from 1 on.")
    return int(episode), int(tick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sim.virtual_robot",
        description="Run real firmware on a pseudo-terminal with a simulated robot behind it.",
        epilog='Prints {"port": ...} and serves until its standard input is closed or SIGTERM comes; '
        "SIGUSR1 resets the controller.",
    )
    parser.add_argument("--robot", required=True, help="name of a shipped robot, or a .yaml file")
    parser.add_argument(
        "--firmware", required=True, nargs="+", help="program that runs the firmware; an emulator and the chip's image"
    )
    parser.add_argument("--seed", type=int, default=0, help="what is hidden: task, dynamics")
    parser.add_argument("--task", default=None, help="the task as JSON, in place of one drawn from the seed")
    parser.add_argument("--log", type=Path, default=None, help="one JSON line per plant request goes here")
    parser.add_argument("--paced", action="store_true", help="real time in place of lock-step")
    parser.add_argument("--unplug-at", default=None, metavar="EPISODE:TICK", help="pull the cable there")
    parser.add_argument("--store", type=Path, default=None, help="what the board remembers over a power cut")
    parser.add_argument("--bus", type=Path, default=None, help="description of the servo bus, where the robot has one")
    parser.add_argument(
        "--servo-fault", default=None, metavar="KIND:ID:EPISODE:TICK", help="unplug or overload a servo there"
    )
    return parser


def run_server(make_plant: PlantMaker, arguments: Sequence[str] | None = None) -> int:
    """Serve a virtual robot as the command line says; returns the exit code.

    The last words of an error go to standard error as one line, for the launcher to pass on.
    """
    options = _parser().parse_args(arguments)
    # a pipe that SIGTERM closes wakes the loop at a safe place
    woken, wake = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(wake, b"t"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program at the other end of the line
    try:
        spec = load_robot(options.robot)
        unplug_at = parse_unplug(options.unplug_at) if options.unplug_at else None
        servo_fault = ServoFault.parse(options.servo_fault) if options.servo_fault else None
        plant = make_plant(spec, options.seed, options.task)
        with BoardProcess(
            options.firmware,
            spec,
            plant,
            log=options.log,
            paced=options.paced,
            unplug_at=unplug_at,
            store=options.store,
            bus=options.bus,
            servo_fault=servo_fault,
        ) as board:
            signal.signal(signal.SIGUSR1, lambda *_: os.kill(board.pid, signal.SIGUSR1))
            print(json.dumps({"port": board.port}), flush=True)
            board.serve((sys.stdin.fileno(), woken))
    except EsmamlError as error:
        print(str(error), file=sys.stderr, flush=True)
        return error.exit_code
    return 0
