"""Where the work items of an iteration run: in this process, or in local worker processes.

A worker gets theta once and the numbers of its items; it derives the rest. Results are put together by item number, so
they have the same bits for any number of workers and any split. A worker that dies (out of memory, kill -9) is started
again and its items are run again.
"""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.connection
import signal
import traceback
from types import TracebackType
from typing import Protocol

import numpy as np

from .checkpoint import RunConfig
from .errors import EsmamlError
from .items import FamilyFactory, ItemRunner, Outcome, Work

MAX_RESTARTS = 10
#: No chunk of work takes longer; a worker that is silent for so long is taken for hung.
CHUNK_DEADLINE_S = 600.0


class Executor(Protocol):
    def run(self, work: Work) -> Outcome:
        """All items of the work."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """All items in this process."""

    def __init__(self, config: RunConfig, factory: FamilyFactory) -> None:
        self._config = config
        self._runner = ItemRunner(config, factory)

    def run(self, work: Work) -> Outcome:
        return self._runner.run(work, 0, self._config.item_count(work.kind))

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()


def _serve(link: multiprocessing.connection.Connection, config: RunConfig, factory: FamilyFactory) -> None:
    """Body of a worker process: chunks in, values out, until the link closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        runner = ItemRunner(config, factory)
        while True:
            work, first, last = link.recv()
            try:
                link.send(runner.run(work, first, last))
            except EsmamlError as error:
                link.send(error)
            except Exception as error:
                # the parent can only say what it is told: a restart would meet the same fault again
                where = traceback.extract_tb(error.__traceback__)[-1]
                link.send(
                    EsmamlError(
                        f"items {first} to {last - 1} of iteration {work.iteration} failed in {where.name} "
                        f"({where.filename}:{where.lineno}): {type(error).__name__}: {error}"
                    )
                )
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent closed the link: the run is over


def _cause(exit_code: int | None) -> str:
    """How a worker ended, and what that points to."""
    if exit_code is None:
        return "it closed its link and did not end"
    if exit_code == -signal.SIGKILL:
        return "SIGKILL from outside: too little memory? Take fewer workers, or look at the system log"
    if exit_code < 0:
        name = signal.strsignal(-exit_code) or "unknown"
        return f"signal {-exit_code}, {name}: a crash in compiled code, of the task family or below it"
    return f"exit code {exit_code}: something that it ran, the task family perhaps, ended the process"


class LocalProcesses:
    """Items split evenly over worker processes on this machine."""

    def __init__(self, config: RunConfig, factory: FamilyFactory, workers: int) -> None:
        self._config, self._factory = config, factory
        self._context = multiprocessing.get_context("spawn")
        self._count = min(workers, config.item_count("train"))
        self._workers: list[tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection]] = []
        self._restarts = 0

    def _start(self) -> tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._config, self._factory), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def __enter__(self) -> LocalProcesses:
        self._workers = [self._start() for _ in range(self._count)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, link in self._workers:
            link.close()
            process.join(timeout=1.0)
            if process.is_alive():
                process.kill()
                process.join()
        self._workers = []

    @property
    def process_ids(self) -> list[int]:
        return [p.pid for p, _ in self._workers if p.pid is not None]

    def _chunks(self, items: int) -> list[tuple[int, int]]:
        bounds = np.linspace(0, items, min(self._count, items) + 1).astype(int).tolist()
        return list(itertools.pairwise(bounds))

    def run(self, work: Work) -> Outcome:
        """All items of the work; EsmamlError when workers keep dying or one hangs."""
        chunks = self._chunks(self._config.item_count(work.kind))
        parts: dict[int, Outcome] = {}
        for index, chunk in enumerate(chunks):
            self._send(index, work, chunk)
        while len(parts) < len(chunks):
            for index, chunk in enumerate(chunks):
                if index in parts:
                    continue
                link = self._workers[index][1]
                try:
                    if not link.poll(CHUNK_DEADLINE_S):
                        raise EsmamlError(
                            f"a worker has not answered for {CHUNK_DEADLINE_S:.0f} s in iteration {work.iteration}; "
                            "stop other programs or use fewer pairs, then go on with --resume."
                        )
                    answer = link.recv()
                except (EOFError, ConnectionResetError):
                    self._restart(index, work, chunk)
                    self._send(index, work, chunk)
                    continue
                if isinstance(answer, EsmamlError):
                    raise answer
                parts[index] = answer
        whole = [parts[i] for i in range(len(chunks))]
        return Outcome(
            np.concatenate([p.values for p in whole]),
            sum(p.episodes for p in whole),
            [m for p in whole for m in p.observed],
        )

    def _send(self, index: int, work: Work, chunk: tuple[int, int]) -> None:
        while True:
            try:
                self._workers[index][1].send((work, *chunk))
                return
            except (BrokenPipeError, ConnectionResetError):
                self._restart(index, work, chunk)

    def _restart(self, index: int, work: Work, chunk: tuple[int, int]) -> None:
        process, link = self._workers[index]
        link.close()
        process.join(timeout=5.0)
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            what = "items" if work.kind == "train" else "validation tasks"
            raise EsmamlError(
                f"workers died {self._restarts} times, last with {what} {chunk[0]} to {chunk[1] - 1} of iteration "
                f"{work.iteration} ({_cause(process.exitcode)}). What was finished is saved; to see where it dies, go "
                "on with --resume --workers 1 and PYTHONFAULTHANDLER=1 in the environment: the same items then run in "
                "the command's own process, and end that."
            )
        self._workers[index] = self._start()


def make_executor(config: RunConfig, factory: FamilyFactory, workers: int) -> Executor:
    """In this process for one worker, else that many local processes."""
    return InProcess(config, factory) if workers <= 1 else LocalProcesses(config, factory, workers)
