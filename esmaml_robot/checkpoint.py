"""Run folders and checkpoints.

A run folder holds config.yaml (resolved), checkpoints/<iteration>.safetensors, metrics.jsonl, and what later
commands add. A checkpoint is one safetensors file: arrays, and a JSON header with the hashes, the resolved
configuration and a checksum of both. There is no pickle anywhere, so opening a stranger's run is safe.
"""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from . import __version__
from .adaptation import OperatorConfig
from .errors import CheckpointError, ConfigError, DamagedCheckpoint
from .files import atomic_write_bytes, atomic_write_text, make_folder
from .first_problem import first_problem
from .meta import MetaConfig, MetaState
from .moments import Moments
from .policy import InitialScheme, Normaliser, Policy, PolicySpec, check_theta

FORMAT = "esmaml-checkpoint-2"
#: What a run folder of policy-gradient MAML, baselines/pg_run.py, has in place of checkpoints.
PG_MAML_FILE = "pg_maml.safetensors"
_ARRAYS = (
    *("theta", "mean", "first", "second", "normaliser_mean", "normaliser_inverse_std"),
    *("observed_mean", "observed_squares", "best_theta", "best_normaliser_mean", "best_normaliser_inverse_std"),
)


class ValidationConfig(BaseModel):
    """Adaptation to validation tasks in the course of training.

    every: iterations from one validation to the next; 0 for none, and the last running mean is the result.
    tasks: validation tasks, always the same ones.
    patience: training stops after so many validations without a new best; 0 trains to the end. Either way the best
        parameters seen are the result.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Annotated[int, Field(ge=0)] = 0
    tasks: Annotated[int, Field(ge=2, le=10_000)] = 16
    patience: Annotated[int, Field(ge=0)] = 0


class WarmStart(BaseModel):
    """The policy that a run starts from in place of initial parameters: its hash, and the episodes that it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    policy_hash: str
    episodes: Annotated[int, Field(ge=0)]


class RunConfig(BaseModel):
    """Everything that decides the bits of a training run.

    episodes: the whole budget: training, validation, and those of the warm start's own training.
    normalise: observations are shifted and scaled by the moments of all that training saw.
    options: of the family (its Options class says which).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    options: dict[str, Any] = {}
    robot: str
    spec_hash: str
    policy: PolicySpec
    normalise: bool = False
    initial: InitialScheme = "rest"
    initial_gain: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 4.0
    operator: OperatorConfig
    meta: MetaConfig
    validation: ValidationConfig = ValidationConfig()
    warm_start: WarmStart | None = None
    episodes: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check(self) -> RunConfig:
        if self.meta.method == "first_order_hessian" and self.operator.name != "es_gradient":
            raise ValueError("meta.method first_order_hessian needs operator.name es_gradient")
        if self.warm_start and self.warm_start.episodes >= self.episodes:
            raise ValueError(
                f"episodes is {self.episodes}; the policy to start from took {self.warm_start.episodes} already, which "
                "count"
            )
        return self

    @property
    def adaptation(self) -> OperatorConfig:
        """The operator that adapts the result: the run's own, or hill climbing where it was trained without one."""
        if self.operator.name == "none":
            return self.operator.model_copy(update={"name": "hill_climb"})
        return self.operator

    def item_count(self, kind: Literal["train", "validate"]) -> int:
        """Work items of an iteration, or of a validation."""
        return self.meta.items if kind == "train" else self.validation.tasks

    @property
    def episodes_per_iteration(self) -> int:
        """Training episodes of an iteration, adaptation and scores together."""
        adaptation = self.operator.build().episodes
        if self.meta.method == "zero_order":
            return 2 * self.meta.pairs * (adaptation + self.meta.score_episodes)
        return self.meta.tasks * (adaptation + 2 * self.meta.pairs * self.meta.score_episodes)

    @property
    def episodes_per_validation(self) -> int:
        return self.validation.tasks * (self.adaptation.build().episodes + self.meta.score_episodes)

    @property
    def least_episodes(self) -> int:
        """The smallest budget of one iteration: with the validation at its end, and the episodes of a warm start."""
        validation = self.episodes_per_validation if self.validation.every else 0
        return self.episodes_per_iteration + validation + (self.warm_start.episodes if self.warm_start else 0)

    @property
    def iterations(self) -> int:
        """Whole iterations that fit the episode budget, validations included; at least one."""
        left = self.episodes - (self.warm_start.episodes if self.warm_start else 0)
        if not self.validation.every:
            return max(1, left // self.episodes_per_iteration)
        block = self.validation.every * self.episodes_per_iteration + self.episodes_per_validation
        whole, rest = divmod(left, block)
        # less than a block: its last iteration brings a validation with it, and is the last of the run
        after = max(0, rest - self.episodes_per_validation) // self.episodes_per_iteration
        return max(1, whole * self.validation.every + after)

    def validates_after(self, iteration: int) -> bool:
        """Whether validation comes after `iteration` iterations: at regular times, and at the end."""
        every = self.validation.every
        return every > 0 and (iteration % every == 0 or iteration == self.iterations)

    def progress(self, iteration: int) -> float:
        """How far the run is at the start of an iteration, 0 to 1: what schedules go by."""
        return iteration / self.iterations


@dataclass(frozen=True)
class Best:
    """The parameters with the best mean return on validation tasks so far, with the normaliser of that time.

    Attributes:
        theta: float32 (d,); None before the first validation, and in runs without.
        score: their mean return after adaptation.
        stale: validations since then.
    """

    theta: npt.NDArray[np.float32] | None = None
    normaliser: Normaliser | None = None
    score: float = -math.inf
    stale: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A training state with the configuration that made it; `normaliser` is that of the last iteration."""

    config: RunConfig
    state: MetaState
    normaliser: Normaliser
    observed: Moments
    best: Best = Best()

    @property
    def stopped_early(self) -> bool:
        """Whether training has ended before its budget, for want of a better validation."""
        patience = self.config.validation.patience
        return 0 < patience <= self.best.stale and self.state.iteration < self.config.iterations

    @property
    def best_iteration(self) -> int | None:
        """After how many iterations the parameters of `best` were validated; None where there are none."""
        if self.best.theta is None:
            return None
        every, iteration = self.config.validation.every, self.state.iteration
        regular = iteration // every
        # the last of a run that is no regular one is the validation of its end
        done = regular + (iteration == self.config.iterations and iteration % every > 0)
        number = done - self.best.stale
        return number * every if number <= regular else iteration

    @property
    def policy(self) -> Policy:
        """The meta-policy: the best on validation tasks, else the running mean. PolicyError when not finite."""
        if self.best.theta is not None and self.best.normaliser is not None:
            return Policy(self.config.policy, self.best.theta, self.best.normaliser)
        return Policy(self.config.policy, self.state.result, self.normaliser)


def _checksum(arrays: dict[str, npt.NDArray[Any]]) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _header_checksum(arrays: dict[str, npt.NDArray[Any]], header: dict[str, str]) -> str:
    """CRC-32 of types and shapes of the arrays and of every entry of the header but this one."""
    layout = sorted((name, str(a.dtype), list(a.shape)) for name, a in arrays.items())
    entries = sorted((k, v) for k, v in header.items() if k != "header_crc32")
    return str(zlib.crc32(json.dumps([layout, entries]).encode()))


def _best_arrays(best: Best) -> dict[str, npt.NDArray[Any]]:
    nothing = np.zeros(0, np.float32)
    if best.theta is None or best.normaliser is None:
        return {"best_theta": nothing, "best_normaliser_mean": nothing, "best_normaliser_inverse_std": nothing}
    return {
        "best_theta": best.theta,
        "best_normaliser_mean": best.normaliser.mean,
        "best_normaliser_inverse_std": best.normaliser.inverse_std,
    }


def _read_best(arrays: dict[str, npt.NDArray[Any]], header: dict[str, str]) -> Best:
    score, stale = json.loads(header["best"])
    if not arrays["best_theta"].size:
        return Best(None, None, float(score), int(stale))
    normaliser = Normaliser(arrays["best_normaliser_mean"], arrays["best_normaliser_inverse_std"])
    return Best(arrays["best_theta"], normaliser, float(score), int(stale))


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint atomically. Raises PolicyError (theta not finite) or CheckpointError (disk)."""
    policy, state = checkpoint.policy, checkpoint.state
    for values in (state.theta, state.mean, state.first, state.second):
        check_theta(policy.spec, values)
    arrays: dict[str, npt.NDArray[Any]] = {
        "theta": state.theta,
        "mean": state.mean,
        "first": state.first,
        "second": state.second,
        "normaliser_mean": checkpoint.normaliser.mean,
        "normaliser_inverse_std": checkpoint.normaliser.inverse_std,
        "observed_mean": checkpoint.observed.mean,
        "observed_squares": checkpoint.observed.squares,
        **_best_arrays(checkpoint.best),
    }
    header = {
        "format": FORMAT,
        "version": __version__,
        "config": checkpoint.config.model_dump_json(),
        "iteration": str(state.iteration),
        "episodes": str(state.episodes),
        "observed_count": str(checkpoint.observed.count),
        "best": json.dumps([checkpoint.best.score, checkpoint.best.stale]),
        "spec_hash": checkpoint.config.spec_hash,
        "layout_hash": policy.spec.layout_hash,
        "policy_hash": policy.policy_hash,
        "crc32": str(_checksum(arrays)),
    }
    header["header_crc32"] = _header_checksum(arrays, header)
    return atomic_write_bytes(path, to_safetensors(arrays, metadata=header), error=CheckpointError)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; CheckpointError says what is wrong with a missing, damaged or foreign file."""
    advice = "use another checkpoint of the run, or train again."
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; `esmaml train` writes one.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{path} is damaged or no checkpoint ({error}); {advice}") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {header.get('format')!r}, this version reads {FORMAT!r}; {advice}")
    whole = sorted(arrays) == sorted(_ARRAYS) and header.get("crc32") == str(_checksum(arrays))
    header_sum = _header_checksum(arrays, header)
    if not whole or header.get("header_crc32") != header_sum:
        raise DamagedCheckpoint(f"{path} is damaged: its contents do not match its checksum; {advice}")
    try:
        config = RunConfig.model_validate_json(header["config"])
        iteration, episodes = int(header["iteration"]), int(header["episodes"])
        observed = Moments(int(header["observed_count"]), arrays["observed_mean"], arrays["observed_squares"])
        best = _read_best(arrays, header)
    except (ValidationError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} has a header that this version cannot read; {advice}") from error
    for name in ("theta", "mean", "first", "second"):
        check_theta(config.policy, arrays[name])
    state = MetaState(arrays["theta"], arrays["mean"], arrays["first"], arrays["second"], iteration, episodes)
    normaliser = Normaliser(arrays["normaliser_mean"], arrays["normaliser_inverse_std"])
    checkpoint = Checkpoint(config, state, normaliser, observed, best)
    if checkpoint.policy.policy_hash != header.get("policy_hash"):
        raise DamagedCheckpoint(f"{path} is damaged: its policy hash does not match its parameters; {advice}")
    return checkpoint


class RunFolder:
    """Paths of a run, and the checkpoints in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"

    def create(self, config: RunConfig, *, again: bool = False) -> None:
        """Make the folder and write config.yaml; CheckpointError if a run is there already.

        With `again`, a config.yaml without any checkpoint is replaced.
        """
        if self.newest_file() is not None or (self.config_file.exists() and not again):
            raise CheckpointError(f"{self.path} holds a run already; add --resume to go on, or choose another --out.")
        make_folder(self.checkpoints, error=CheckpointError)
        self.describe(config)

    def describe(self, config: RunConfig) -> None:
        """Make config.yaml say `config`, if it does not."""
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        if self.config_file.is_file() and self.config_file.read_text(encoding="utf-8").endswith("\n" + text):
            return
        head = f"# how this run was made; esmaml-robot {__version__}\n"
        atomic_write_text(self.config_file, head + text, error=CheckpointError)

    def described(self) -> RunConfig | None:
        """What config.yaml says; None where there is none, CheckpointError where it is not of a run of this kind."""
        if not self.config_file.is_file():
            return None
        try:
            return RunConfig.model_validate(yaml.safe_load(self.config_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise CheckpointError(
                f"{self.config_file} describes no run of `esmaml train` of this version; choose another --out."
            ) from error

    @property
    def begun(self) -> bool:
        """Whether a run was begun here, be it one that was killed before its first checkpoint."""
        return self.checkpoints.is_dir() or self.config_file.is_file()

    def checkpoint_file(self, iteration: int) -> Path:
        return self.checkpoints / f"{iteration:07d}.safetensors"

    def _files(self) -> list[Path]:
        """All checkpoints, the oldest first."""
        return sorted(self.checkpoints.glob("[0-9]*.safetensors"))

    def newest_file(self) -> Path | None:
        return next(reversed(self._files()), None)

    def newest(self) -> Checkpoint:
        """The latest checkpoint of the run; CheckpointError where there is none, or it is damaged."""
        checkpoint, damaged = self.newest_whole()
        if damaged:
            files, older = ", ".join(map(str, damaged)), self.checkpoint_file(checkpoint.state.iteration).name
            raise CheckpointError(
                f"{files} is damaged, {older} is whole; `esmaml train --out {self.path} --resume` trains again from "
                f"there, with the same bits; to use {older} as it is, delete what is damaged."
            )
        return checkpoint

    def newest_whole(self) -> tuple[Checkpoint, list[Path]]:
        """The latest checkpoint that is not damaged, and the damaged files after it.

        Raises CheckpointError where there is none, or where it is not of this version.
        """
        files = self._files()
        if not files:
            if (self.path / PG_MAML_FILE).is_file():
                raise CheckpointError(
                    f"{self.path} is a run of policy-gradient MAML, a baseline: "
                    f"`esmaml eval RUN --pg-maml {self.path}` scores it beside a run of ES-MAML, and "
                    "`python -m benchmarks.pg_maml` draws where one goes on four_corners (docs/baselines.md)."
                )
            below = sorted({str(p.parent.parent) for p in self.path.glob("*/checkpoints/*.safetensors")})
            advice = f"runs in it: {', '.join(below)}" if below else "`esmaml train` makes one"
            raise CheckpointError(f"{self.path} holds no checkpoint, so it is no run folder; {advice}.")
        for number, file in enumerate(reversed(files)):
            try:
                return load_checkpoint(file), files[len(files) - number :]
            except DamagedCheckpoint:
                continue
        raise CheckpointError(f"{files[-1]} is damaged, and no older checkpoint of the run is whole; train again.")

    def set_aside(self, file: Path) -> Path:
        """Take a damaged checkpoint out of the run; it is kept under another name. Raises CheckpointError."""
        aside = file.with_name(f"{file.name}.damaged")
        try:
            return file.replace(aside)
        except OSError as error:
            raise CheckpointError(f"cannot rename {file}, which is damaged: {error.strerror}; delete it.") from error

    def keep_newest(self, count: int) -> None:
        """Remove all but the newest `count` checkpoints."""
        for file in self._files()[:-count]:
            file.unlink(missing_ok=True)


def config_differences(old: BaseModel, new: BaseModel) -> list[str]:
    """Keys in which two configurations differ."""
    a, b = (c.model_dump(mode="json") for c in (old, new))
    return sorted(k for k in a if a[k] != b[k])


def parse_run_config(values: dict[str, Any]) -> RunConfig:
    """RunConfig out of plain values; ConfigError naming the key otherwise."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{first_problem(error, RunConfig).of('training option')}.") from error


def metrics_until(path: Path, iteration: int) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl up to `iteration`; a line cut off by a crash is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(row, dict) and row.get("iteration", 0) <= iteration:
                rows.append(row)
    return rows
