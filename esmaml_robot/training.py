"""The whole of meta-training on one screen: ask, run, tell, write down."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from . import first_order, meta
from .checkpoint import (
    Best,
    Checkpoint,
    RunConfig,
    RunFolder,
    config_differences,
    metrics_until,
    save_checkpoint,
)
from .errors import CheckpointError, ConfigError
from .executors import Executor, make_executor
from .files import atomic_write_text, only_writer
from .items import FamilyFactory, Outcome, Work
from .moments import Moments
from .policy import Normaliser, initial_theta

KEPT_CHECKPOINTS = 3


@dataclass(frozen=True)
class Progress:
    """What one iteration has to say: mean return after adaptation over its tasks, episodes so far, seconds.

    mean_return is None for the first-order methods; validation_return where this iteration ended with one.
    """

    iteration: int
    iterations: int
    episodes: int
    mean_return: float | None
    validation_return: float | None
    failed: int
    seconds: float


def train(
    config: RunConfig,
    folder: RunFolder,
    factory: FamilyFactory,
    *,
    workers: int = 1,
    resume: bool = False,
    warm: Checkpoint | None = None,
    checkpoint_seconds: float = 2.0,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Checkpoint:
    """Run ES-MAML (or, with the operator `none`, domain randomisation) until the episode budget is used.

    The result depends on `config` alone: not on workers, nor on where it was interrupted and resumed. A checkpoint is
    written every `checkpoint_seconds`; 0 writes one an iteration.

    Args:
        resume: go on with the run in the folder, if there is one; `config` is its own, or its own with more episodes.
            Where its newest checkpoint is damaged, from the one before it: the iterations after it run again.
        warm: the run that `config.warm_start` names.
        on_note: is told in a line that a checkpoint was damaged, and what became of it.

    Raises:
        CheckpointError: the folder holds a run and `resume` is not set, or holds a run of another configuration, or
            one that more episodes would have made another, or another program trains in it; `warm` is not the run
            that was named, or of another architecture.
        ConfigError: the budget of a new run is below one iteration.
        SimulationError: a simulated body yielded a number that is not finite.
    """
    goes_on = resume and folder.newest_file() is not None
    start = None if goes_on else _start(config, warm)  # what is wrong with it leaves no folder behind
    if not goes_on:
        _require_iteration(config)
    with only_writer(folder.path, error=CheckpointError):
        if start is None:
            start = _go_on(folder, config, on_note)
        else:
            folder.create(config, again=resume)  # a run that was killed before its first checkpoint begins anew
            save_checkpoint(folder.checkpoint_file(0), start)
        return _train(start, folder, factory, workers, checkpoint_seconds, on_progress)


def _train(
    checkpoint: Checkpoint,
    folder: RunFolder,
    factory: FamilyFactory,
    workers: int,
    checkpoint_seconds: float,
    on_progress: Callable[[Progress], None] | None,
) -> Checkpoint:
    """`train` from a checkpoint on, in a folder that is ours."""
    config = checkpoint.config
    state = checkpoint.state
    rows = metrics_until(folder.metrics_file, state.iteration)
    # what was logged after the checkpoint is about to happen again
    atomic_write_text(folder.metrics_file, "".join(json.dumps(r) + "\n" for r in rows), error=CheckpointError)

    started = saved = time.monotonic()
    with (
        folder.metrics_file.open("a", encoding="utf-8", buffering=1) as metrics,
        make_executor(config, factory, workers) as executor,
    ):
        while not _finished(checkpoint):
            checkpoint, outcome = _iterate(checkpoint, executor)
            score = None
            if config.validates_after(checkpoint.state.iteration):
                checkpoint, score = _validate(checkpoint, executor)
            state = checkpoint.state
            # before the checkpoint: a line too many is dropped on resume, a line too few would be lost
            row = _metrics(state, outcome.values, score)
            _write_line(metrics, json.dumps(row), folder)
            now = time.monotonic()
            if now - saved >= checkpoint_seconds or _finished(checkpoint):
                saved = now
                save_checkpoint(folder.checkpoint_file(state.iteration), checkpoint)
                folder.keep_newest(KEPT_CHECKPOINTS)
            if on_progress is not None:
                seconds = now - started
                on_progress(
                    Progress(
                        state.iteration,
                        config.iterations,
                        state.episodes,
                        row["mean_return"],
                        score,
                        row["failed"],
                        seconds,
                    )
                )
    return checkpoint


def _go_on(folder: RunFolder, config: RunConfig, on_note: Callable[[str], None] | None) -> Checkpoint:
    """The newest whole checkpoint of a run, which from now on is one of `config`: as it was, or with more episodes."""
    checkpoint, damaged = folder.newest_whole()
    old = checkpoint.config
    different = config_differences(old, config)
    if different == ["episodes"] and config.episodes > old.episodes:
        if cause := _bound_to_its_budget(checkpoint):
            raise CheckpointError(
                f"{folder.path} cannot go on beyond its {old.episodes} episodes as if it had been given more: {cause}. "
                f"A new run can start from its policy: esmaml train {config.family} --from {folder.path} --out ..."
            )
        checkpoint = replace(checkpoint, config=config)
        save_checkpoint(folder.checkpoint_file(checkpoint.state.iteration), checkpoint)
    elif different:
        raise CheckpointError(
            f"{folder.path} was made with other settings ({', '.join(different)}); resume it with its own, "
            "or choose another --out."
        )
    for file in damaged:
        aside = folder.set_aside(file)
        if on_note is not None:
            on_note(
                f"{file} is damaged and now called {aside.name}; training goes on from iteration "
                f"{checkpoint.state.iteration}, with the same bits as before."
            )
    folder.describe(config)
    return checkpoint


def _bound_to_its_budget(checkpoint: Checkpoint) -> str | None:
    """What a run has done by now that it would not have done with a larger budget; None where there is nothing."""
    config, iteration = checkpoint.config, checkpoint.state.iteration
    for key in ("learning_rate", "sigma"):
        if getattr(config.meta, f"{key}_final") is not None and iteration:
            return f"meta.{key} went towards meta.{key}_final over the whole run"
    every = config.validation.every
    if every and iteration == config.iterations and iteration % every:
        return f"it ended with a validation, which comes every {every} iterations otherwise"
    return None


def _require_iteration(config: RunConfig) -> None:
    """A run has one iteration at least, so a budget below that would not be kept. Raises ConfigError."""
    if config.episodes >= config.least_episodes:
        return
    after = f" after the {config.warm_start.episodes} of the policy to start from" if config.warm_start else ""
    raise ConfigError(
        f"episodes is {config.episodes}, too few for one iteration{after}; give at least {config.least_episodes}, or "
        "take fewer with --set meta.pairs=..."
    )


def _start(config: RunConfig, warm: Checkpoint | None) -> Checkpoint:
    """The state before the first iteration; a warm start brings its parameters, observations and episodes."""
    inputs = config.policy.inputs
    if config.warm_start is None:
        theta = initial_theta(config.policy, config.initial, config.initial_gain, config.seed)
        return Checkpoint(config, meta.start(theta), Normaliser.identity(inputs), Moments.empty(inputs))
    if warm is None or warm.policy.policy_hash != config.warm_start.policy_hash:
        found = "no run" if warm is None else f"policy {warm.policy.policy_hash}"
        raise CheckpointError(
            f"the run starts from policy {config.warm_start.policy_hash} of {config.warm_start.run}; found {found}. "
            "Give the same run again."
        )
    if warm.config.policy != config.policy:
        raise CheckpointError(
            f"{config.warm_start.run} holds a {warm.config.policy.describe()}; this run needs a "
            f"{config.policy.describe()}: use the same --policy for both."
        )
    state = replace(meta.start(warm.policy.theta), episodes=config.warm_start.episodes)
    return Checkpoint(config, state, warm.policy.normaliser, warm.observed)


def _finished(checkpoint: Checkpoint) -> bool:
    return checkpoint.stopped_early or checkpoint.state.iteration >= checkpoint.config.iterations


def _iterate(checkpoint: Checkpoint, executor: Executor) -> tuple[Checkpoint, Outcome]:
    """One step of the outer loop; afterwards the observations that it made join the normaliser."""
    config, state = checkpoint.config, checkpoint.state
    progress = config.progress(state.iteration)
    outcome = executor.run(Work("train", state.params, state.iteration, checkpoint.normaliser))
    if config.meta.method == "zero_order":
        items = meta.work_items(config.meta, config.seed, state.iteration)
        state = meta.tell(config.meta, state, items, outcome.values, outcome.episodes, progress)
    else:
        state = first_order.tell_gradients(config.meta, state, outcome.values, outcome.episodes, progress)
    observed = checkpoint.observed
    for moments in outcome.observed:
        observed = observed.merge(moments)
    normaliser = observed.normaliser() if config.normalise else checkpoint.normaliser
    return replace(checkpoint, state=state, observed=observed, normaliser=normaliser), outcome


def _validate(checkpoint: Checkpoint, executor: Executor) -> tuple[Checkpoint, float]:
    """Adapt to the validation tasks; the best parameters so far are kept. Its episodes count as training's."""
    state, best = checkpoint.state, checkpoint.best
    outcome = executor.run(Work("validate", state.result, state.iteration, checkpoint.normaliser))
    score = float(np.nanmean(outcome.values)) if np.isfinite(outcome.values).any() else -math.inf
    if score > best.score:
        best = Best(state.result, checkpoint.normaliser, score, 0)
    else:
        best = replace(best, stale=best.stale + 1)
    counted = replace(state, episodes=state.episodes + outcome.episodes)
    return replace(checkpoint, state=counted, best=best), score


def _write_line(file: TextIO, line: str, folder: RunFolder) -> None:
    try:
        file.write(line + "\n")
    except OSError as error:
        raise CheckpointError(
            f"cannot write {folder.metrics_file}: {error.strerror}; free some space, then go on with --resume."
        ) from error


def _metrics(state: meta.MetaState, values: npt.NDArray[np.float32], validation: float | None) -> dict[str, Any]:
    """One line of metrics.jsonl; the first-order methods yield gradients, so they have no returns to report.

    validation_return is null where every validation task failed.
    """
    good = values[np.isfinite(values)].astype(np.float64)
    row: dict[str, Any] = {
        "iteration": state.iteration,
        "episodes": state.episodes,
        "mean_return": float(good.mean()) if values.ndim == 1 else None,
        "std_return": float(good.std()) if values.ndim == 1 else None,
        "failed": int((~np.isfinite(values.reshape(len(values), -1)).all(axis=1)).sum()),
        "theta_norm": float(np.linalg.norm(state.theta)),
    }
    if validation is not None:
        row["validation_return"] = validation if math.isfinite(validation) else None
    return row
