"""Settings of policy-gradient MAML and its run folder: config.yaml, metrics.jsonl, pg_maml.safetensors."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from .. import __version__
from ..checkpoint import PG_MAML_FILE
from ..errors import CheckpointError, ConfigError
from ..files import atomic_write_bytes, atomic_write_text, make_folder
from ..first_problem import first_problem
from ..meta import MetaConfig, MetaState
from ..policy import InitialScheme, Normaliser, Policy, PolicySpec

FORMAT = "esmaml-pg-maml-1"
_ARRAYS = ("theta", "mean", "first", "second")


class PGConfig(BaseModel):
    """Everything that decides the bits of a run of policy-gradient MAML.

    tasks, rollouts: tasks an iteration, and episodes of each before and again after every inner step.
    inner_steps, inner_rate: gradient steps of an adaptation, and their length.
    curvature: of the derivative of an inner step, see surrogate.py; `first_order` takes it as the identity.
    discount, trace: gamma and lambda of the advantages.
    initial, initial_gain, initial_log_std: start of the mean network and of the log std of actions in [-1, 1].
    learning_rate, learning_rate_final: of Adam, linearly over the run; averaging: of its iterates, as in MetaConfig.
    episodes: the whole budget, those before and after adaptation counted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    family: str
    options: dict[str, Any] = {}
    robot: str
    spec_hash: str
    policy: PolicySpec
    initial: InitialScheme = "scaled"
    initial_gain: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0
    initial_log_std: Annotated[float, Field(ge=-4, le=1)] = -0.5
    tasks: Annotated[int, Field(ge=1, le=10_000)] = 20
    rollouts: Annotated[int, Field(ge=2, le=10_000)] = 20
    inner_steps: Annotated[int, Field(ge=1, le=100)] = 1
    inner_rate: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 1.0
    curvature: Literal["lvc", "dice", "first_order"] = "lvc"
    discount: Annotated[float, Field(gt=0, le=1)] = 0.99
    trace: Annotated[float, Field(ge=0, le=1)] = 1.0
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.01
    learning_rate_final: Annotated[float, Field(ge=0, le=10)] | None = None
    averaging: Annotated[int, Field(ge=1, le=10_000)] = 1
    episodes: int = Field(ge=1)
    seed: int = Field(ge=0, lt=2**32)

    @property
    def adaptation_episodes(self) -> int:
        """Episodes of one adaptation."""
        return self.inner_steps * self.rollouts

    @property
    def episodes_per_iteration(self) -> int:
        return self.tasks * (self.adaptation_episodes + self.rollouts)

    @property
    def iterations(self) -> int:
        """Whole iterations that fit the budget; at least one."""
        return max(1, self.episodes // self.episodes_per_iteration)

    @property
    def outer(self) -> MetaConfig:
        """The optimiser, as ES-MAML's outer loop takes it."""
        return MetaConfig(
            optimiser="adam",
            learning_rate=self.learning_rate,
            learning_rate_final=self.learning_rate_final,
            averaging=self.averaging,
        )


def parse_pg_config(values: dict[str, Any]) -> PGConfig:
    """PGConfig out of plain values; ConfigError naming the key otherwise."""
    try:
        return PGConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"policy-gradient MAML: {first_problem(error, PGConfig).of('option')}.") from error


@dataclass(frozen=True)
class PGRun:
    """A training state with its settings; the vectors of the state are theta, then log std, (d + outputs,)."""

    config: PGConfig
    state: MetaState

    @property
    def params(self) -> npt.NDArray[np.float64]:
        """The meta-policy's parameters, (d + outputs,)."""
        return self.state.mean

    @property
    def policy(self) -> Policy:
        """The deterministic policy that acts at the mean."""
        theta = self.params[: self.config.policy.dimension].astype(np.float32)
        return Policy(self.config.policy, theta, Normaliser.identity(self.config.policy.inputs))


def _checksum(arrays: dict[str, npt.NDArray[Any]], header: dict[str, str]) -> str:
    crc = zlib.crc32(json.dumps(sorted((k, v) for k, v in header.items() if k != "crc32")).encode())
    for name in _ARRAYS:
        crc = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), crc)
    return str(crc)


class PGFolder:
    """A run folder of policy-gradient MAML."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.file = path / PG_MAML_FILE

    def create(self, config: PGConfig, *, again: bool = False) -> None:
        """Make the folder and write config.yaml; CheckpointError where a run of any kind is there already.

        With `again`, a config.yaml without a checkpoint is replaced.
        """
        if self.file.exists() or (self.config_file.exists() and not again):
            raise CheckpointError(f"{self.path} holds a run already; add --resume to go on, or choose another --out.")
        make_folder(self.path, error=CheckpointError)
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        head = f"# policy-gradient MAML; esmaml-robot {__version__}\n"
        atomic_write_text(self.config_file, head + text, error=CheckpointError)

    @property
    def begun(self) -> bool:
        """Whether a run was begun here, be it one that was killed before its first checkpoint."""
        return self.file.is_file() or self.config_file.is_file()

    def save(self, run: PGRun) -> Path:
        """Write the state atomically. Raises CheckpointError (disk)."""
        arrays: dict[str, npt.NDArray[Any]] = {name: getattr(run.state, name) for name in _ARRAYS}
        header = {
            "format": FORMAT,
            "version": __version__,
            "config": run.config.model_dump_json(),
            "iteration": str(run.state.iteration),
            "episodes": str(run.state.episodes),
        }
        header["crc32"] = _checksum(arrays, header)
        return atomic_write_bytes(self.file, to_safetensors(arrays, metadata=header), error=CheckpointError)

    def load(self) -> PGRun:
        """The state last saved; CheckpointError where there is none, or a damaged one."""
        if not self.file.is_file():
            raise CheckpointError(
                f"{self.path} holds no run of policy-gradient MAML; `esmaml baseline pg-maml` makes one."
            )
        advice = "train again."
        try:
            with safe_open(self.file, framework="numpy") as file:
                header = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{self.file} is damaged or no checkpoint ({error}); {advice}") from error
        if header.get("format") != FORMAT:
            raise CheckpointError(
                f"{self.file} has format {header.get('format')!r}, this version reads {FORMAT!r}; {advice}"
            )
        if header.get("crc32") != _checksum(arrays, header):
            raise CheckpointError(f"{self.file} is damaged: its contents do not match its checksum; {advice}")
        try:
            config = PGConfig.model_validate_json(header["config"])
            iteration, episodes = int(header["iteration"]), int(header["episodes"])
        except (ValidationError, KeyError, ValueError) as error:
            raise CheckpointError(f"{self.file} has a header that this version cannot read; {advice}") from error
        theta, mean, first, second = (arrays[name] for name in _ARRAYS)
        return PGRun(config, MetaState(theta, mean, first, second, iteration, episodes))
