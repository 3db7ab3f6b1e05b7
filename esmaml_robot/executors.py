"""Where the work items of an iteration run: in this process, or in local worker processes.

A worker gets theta once and the numbers of its items; it derives the rest. Rows of a batch do not influence one
another, and values are put together by item number, so the result has the same bits for any number of workers and
any split. A worker that dies (out of memory, kill -9) is started again and its items are run again.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import meta
from .adaptation.side_by_side import Item, adapt_many
from .checkpoint import RunConfig
from .errors import EsmamlError
from .evaluation import EpisodeBatch, Task, TaskFamily
from .policy import Normaliser

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]

#: Makes a task family from its name; a top-level function, so that a new process can import it.
FamilyFactory = Callable[[str], TaskFamily]

MAX_RESTARTS = 10
#: No chunk of work takes longer; a worker that is silent for so long is taken for hung.
CHUNK_DEADLINE_S = 600.0


@dataclass(frozen=True)
class Outcome:
    """Values after adaptation of all items of an iteration, float32 (2 n,), NaN where one failed; episodes run."""

    values: F32
    episodes: int


class Executor(Protocol):
    def run(self, params: F32, iteration: int) -> Outcome: ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ItemRunner:
    """Runs any items of any iteration of one training run."""

    def __init__(self, config: RunConfig, factory: FamilyFactory) -> None:
        self._config = config
        self._family = factory(config.family)
        self._operator = config.operator.build()
        self._normaliser = Normaliser.identity(config.policy.inputs)

    def run(self, params: F32, iteration: int, first: int, last: int) -> tuple[F32, int]:
        """Values of items first .. last - 1, and the episodes that they took."""
        config, policy = self._config, self._config.policy
        items = meta.work_items(config.meta, config.seed, iteration)[first:last]
        starts = meta.perturbed(params, config.meta.sigma, items)
        tasks = [self._family.sample("train", item.task_index) for item in items]

        def evaluate(rows: F32, row_tasks: Sequence[Task], seeds: U32) -> EpisodeBatch:
            return self._family.evaluate(policy, self._normaliser, rows, row_tasks, seeds)

        work = [Item(s, t, i.operator_seed) for s, t, i in zip(starts, tasks, items, strict=True)]
        adapted = adapt_many(self._operator, evaluate, work)
        values = np.full(len(items), np.nan, dtype=np.float32)
        good = [i for i, a in enumerate(adapted) if a is not None]
        episodes = len(good)
        if good:
            rows = np.stack([a.params for a in adapted if a is not None])
            seeds = np.array([items[i].score_seed for i in good], dtype=np.uint32)
            batch = evaluate(rows, [tasks[i] for i in good], seeds)
            values[good] = np.where(batch.valid, batch.returns, np.nan)
        episodes += sum(a.episodes for a in adapted if a is not None)
        return values, episodes


class InProcess:
    """All items in this process."""

    def __init__(self, config: RunConfig, factory: FamilyFactory) -> None:
        self._runner = ItemRunner(config, factory)
        self._count = 2 * config.meta.pairs

    def run(self, params: F32, iteration: int) -> Outcome:
        values, episodes = self._runner.run(params, iteration, 0, self._count)
        return Outcome(values, episodes)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def _serve(link: multiprocessing.connection.Connection, config: RunConfig, factory: FamilyFactory) -> None:
    """Body of a worker process: chunks in, values out, until the link closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        runner = ItemRunner(config, factory)
        while True:
            params, iteration, first, last = link.recv()
            try:
                link.send((*runner.run(params, iteration, first, last), None))
            except EsmamlError as error:
                link.send((None, 0, error))
            except Exception as error:
                # the parent can only say what it is told: a restart would meet the same fault again
                where = traceback.extract_tb(error.__traceback__)[-1]
                link.send(
                    (
                        None,
                        0,
                        EsmamlError(
                            f"items {first} to {last - 1} of iteration {iteration} failed in {where.name} "
                            f"({where.filename}:{where.lineno}): {type(error).__name__}: {error}"
                        ),
                    )
                )
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent closed the link: the run is over


class LocalProcesses:
    """Items split evenly over worker processes on this machine."""

    def __init__(self, config: RunConfig, factory: FamilyFactory, workers: int) -> None:
        self._config, self._factory = config, factory
        self._context = multiprocessing.get_context("spawn")
        self._count = 2 * config.meta.pairs
        bounds = np.linspace(0, self._count, min(workers, self._count) + 1).astype(int)
        self._chunks = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
        self._workers: list[tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection]] = []
        self._restarts = 0

    def _start(self) -> tuple[multiprocessing.process.BaseProcess, multiprocessing.connection.Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._config, self._factory), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def __enter__(self) -> LocalProcesses:
        self._workers = [self._start() for _ in self._chunks]
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

    def run(self, params: F32, iteration: int) -> Outcome:
        """One iteration; EsmamlError when workers keep dying or one hangs."""
        values = np.full(self._count, np.nan, dtype=np.float32)
        episodes = 0
        waiting = list(range(len(self._chunks)))
        for index in waiting:
            self._send(index, params, iteration)
        while waiting:
            for index in list(waiting):
                link = self._workers[index][1]
                try:
                    if not link.poll(CHUNK_DEADLINE_S):
                        raise EsmamlError(
                            f"a worker has not answered for {CHUNK_DEADLINE_S:.0f} s in iteration {iteration}; "
                            "stop other programs or use fewer pairs, then go on with --resume."
                        )
                    chunk, used, error = link.recv()
                except (EOFError, ConnectionResetError):
                    self._restart(index, iteration)
                    self._send(index, params, iteration)
                    continue
                if error is not None:
                    raise error
                first, last = self._chunks[index]
                values[first:last] = chunk
                episodes += used
                waiting.remove(index)
        return Outcome(values, episodes)

    def _send(self, index: int, params: F32, iteration: int) -> None:
        while True:
            try:
                self._workers[index][1].send((params, iteration, *self._chunks[index]))
                return
            except (BrokenPipeError, ConnectionResetError):
                self._restart(index, iteration)

    def _restart(self, index: int, iteration: int) -> None:
        process, link = self._workers[index]
        link.close()
        process.join(timeout=5.0)
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise EsmamlError(
                f"workers died {self._restarts} times, last in iteration {iteration} (exit code {process.exitcode}); "
                "there may be too little memory: try --workers 1, or look at the system log."
            )
        self._workers[index] = self._start()


def make_executor(config: RunConfig, factory: FamilyFactory, workers: int) -> Executor:
    """In this process for one worker, else that many local processes."""
    return InProcess(config, factory) if workers <= 1 else LocalProcesses(config, factory, workers)
