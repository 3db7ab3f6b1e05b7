"""Ctrl-C as a pause: while a robot adapts alone, it makes it hold, and only then asks what is meant."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self


class CtrlC:
    """`deployment.autonomous.Pauses` out of the keyboard. In a `with` block, Ctrl-C is noted in place of raised.

    A second Ctrl-C before the robot holds, and any while the person is asked, is a KeyboardInterrupt as ever.

    Args:
        ask: asks the person while the robot holds; True to go on.
    """

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._noted = False
        self._before: Any = signal.default_int_handler

    def __enter__(self) -> Self:
        self._noted = False
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted:
            raise KeyboardInterrupt
        self._noted = True

    def wanted(self) -> bool:
        return self._noted

    def over(self) -> bool:
        signal.signal(signal.SIGINT, self._before)
        go_on = self._ask()
        self._noted = False
        signal.signal(signal.SIGINT, self._note)
        return go_on
