"""The whole of meta-training on one screen: ask, run, tell, write down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np

from . import meta
from .checkpoint import (
    Checkpoint,
    RunConfig,
    RunFolder,
    config_differences,
    metrics_until,
    save_checkpoint,
)
from .errors import CheckpointError
from .executors import FamilyFactory, make_executor
from .files import atomic_write_text
from .policy import Normaliser, initial_theta

KEPT_CHECKPOINTS = 3


@dataclass(frozen=True)
class Progress:
    """What one iteration has to say: mean return after adaptation over its tasks, episodes so far, seconds."""

    iteration: int
    iterations: int
    episodes: int
    mean_return: float
    failed: int
    seconds: float


def train(
    config: RunConfig,
    folder: RunFolder,
    factory: FamilyFactory,
    *,
    workers: int = 1,
    resume: bool = False,
    checkpoint_seconds: float = 2.0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Checkpoint:
    """Run ES-MAML (or, with the operator `none`, domain randomisation) until the episode budget is used.

    The result depends on `config` alone: not on workers, nor on where it was interrupted and resumed. A checkpoint is
    written every `checkpoint_seconds`; 0 writes one an iteration.

    Raises:
        CheckpointError: the folder holds a run and `resume` is not set, or holds a run of another configuration.
    """
    if resume and folder.newest_file() is not None:
        checkpoint = folder.newest()
        different = config_differences(checkpoint.config, config)
        if different:
            raise CheckpointError(
                f"{folder.path} was made with other settings ({', '.join(different)}); resume it with its own, "
                "or choose another --out."
            )
        checkpoint = Checkpoint(config, checkpoint.state, checkpoint.normaliser)
    else:
        folder.create(config, again=resume)  # a run that was killed before its first checkpoint begins anew
        theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
        checkpoint = Checkpoint(config, meta.start(theta), Normaliser.identity(config.policy.inputs))
        save_checkpoint(folder.checkpoint_file(0), checkpoint)
    state = checkpoint.state
    rows = metrics_until(folder.metrics_file, state.iteration)
    # what was logged after the checkpoint is about to happen again
    atomic_write_text(folder.metrics_file, "".join(json.dumps(r) + "\n" for r in rows), error=CheckpointError)

    started = saved = time.monotonic()
    with (
        folder.metrics_file.open("a", encoding="utf-8", buffering=1) as metrics,
        make_executor(config, factory, workers) as executor,
    ):
        while state.iteration < config.iterations:
            items = meta.work_items(config.meta, config.seed, state.iteration)
            outcome = executor.run(state.params, state.iteration)
            progress = state.iteration / config.iterations
            state = meta.tell(config.meta, state, items, outcome.values, outcome.episodes, progress)

            checkpoint = Checkpoint(config, state, checkpoint.normaliser)
            # before the checkpoint: a line too many is dropped on resume, a line too few would be lost
            row = _metrics(state, outcome.values)
            _write_line(metrics, json.dumps(row), folder)
            now = time.monotonic()
            if now - saved >= checkpoint_seconds or state.iteration >= config.iterations:
                saved = now
                save_checkpoint(folder.checkpoint_file(state.iteration), checkpoint)
                folder.keep_newest(KEPT_CHECKPOINTS)
            if on_progress is not None:
                seconds = now - started
                on_progress(
                    Progress(
                        state.iteration, config.iterations, state.episodes, row["mean_return"], row["failed"], seconds
                    )
                )
    return checkpoint


def _write_line(file: TextIO, line: str, folder: RunFolder) -> None:
    try:
        file.write(line + "\n")
    except OSError as error:
        raise CheckpointError(
            f"cannot write {folder.metrics_file}: {error.strerror}; free some space, then go on with --resume."
        ) from error


def _metrics(state: meta.MetaState, values: Any) -> dict[str, Any]:
    good = values[np.isfinite(values)].astype(np.float64)
    return {
        "iteration": state.iteration,
        "episodes": state.episodes,
        "mean_return": float(good.mean()),
        "std_return": float(good.std()),
        "failed": int(len(values) - len(good)),
        "theta_norm": float(np.linalg.norm(state.theta)),
    }
