"""`esmaml play`: a film of a policy in a task, before and after adaptation side by side."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from ..adaptation import OperatorConfig
from ..adaptation.side_by_side import Item, adapt_many
from ..checkpoint import RunFolder
from ..errors import ConfigError, EsmamlError
from ..evaluation import EpisodeBatch, Split, Task, TaskFamily
from ..identity import require_match
from ..policy import Normaliser, Policy
from ..policy_file import load_policy
from ..report.film import check_film_path, gif_rate, write_film
from ..scoring import operator_seed, score_seed
from .common import err, family_factory, family_of, guarded, own_package, print_json, progress_bar, require_outside
from .settings import run_config

F32 = npt.NDArray[np.float32]

#: Pictures a second, unless the film would then have more than so many pictures.
FPS, MOST_PICTURES = 20.0, 80


@dataclass(frozen=True)
class Show:
    """What to play: a policy on a family, a word on it, and the operator that may adapt it."""

    family: TaskFamily
    family_name: str
    policy: Policy
    label: str
    operator: OperatorConfig
    is_run: bool


def _show(target: str, policy_file: Path | None, settings: Sequence[str]) -> Show:
    """A run's meta-policy, or a family with theta = 0; a policy file in place of either."""
    if Path(target).is_dir():
        if settings:
            raise ConfigError("--set is for a family; a run has its own settings.")
        checkpoint = RunFolder(Path(target)).newest()
        config, family, policy, label, is_run = (
            checkpoint.config, family_of(checkpoint.config), checkpoint.policy, "meta-policy", True,
        )  # fmt: skip
    else:
        if "/" in target and ":" not in target:
            raise ConfigError(f"there is no run folder {target}; `esmaml train` makes one.")
        config = run_config(target, seed=0, settings=tuple(settings))
        family = family_factory()(target, config.options)
        normaliser = Normaliser.identity(config.policy.inputs)
        policy = Policy(config.policy, np.zeros(config.policy.dimension, np.float32), normaliser)
        label, is_run = "theta = 0", False
    if policy_file is not None:
        stored = load_policy(policy_file)
        require_match(
            "spec_hash",
            family.interface_hash,
            stored.spec_hash,
            our_name=f"task family {family.name}",
            their_name=f"{policy_file} (made for {stored.robot})",
            advice="Play it in a family on its own robot.",
        )
        policy, label, is_run = stored.policy, policy_file.stem, False
    return Show(family, config.family, policy, label, config.adaptation, is_run)


def _adapt(show: Show, task: Task, operator_seed: int) -> tuple[F32, int]:
    """Parameters after adaptation in simulation, and its episodes."""
    operator = show.operator.build()
    with progress_bar() as bar:
        line = bar.add_task("adapting", total=operator.episodes, note="")

        def evaluate(rows: F32, tasks: Sequence[Task], seeds: npt.NDArray[np.uint32]) -> EpisodeBatch:
            batch = show.family.evaluate(show.policy.spec, show.policy.normaliser, rows, tasks, seeds)
            bar.update(line, advance=len(batch), note=f"return {float(np.nanmax(batch.returns)):8.2f}")
            return batch

        adapted = adapt_many(operator, evaluate, [Item(show.policy.theta, task, operator_seed)])[0]
    if adapted is None:
        raise EsmamlError(f"an episode of task {task.parameters} was invalid, so nothing was adapted.")
    return adapted.params, adapted.episodes


def _hidden(family: TaskFamily, task: Task) -> str:
    """A task's parameters in words."""
    units = {law.name: law.unit for law in getattr(family, "laws", ()) if law.unit != "1"}
    return ", ".join(f"{k} {v:.3g}{' ' + units[k] if k in units else ''}" for k, v in task.parameters.items())


def _pictures_a_second(length: int, rate_hz: float, asked: float | None, gif: bool) -> float:
    fps = asked or min(FPS, MOST_PICTURES * rate_hz / length)
    fps = min(fps, rate_hz)
    return gif_rate(fps) if gif else fps


@guarded
def play(
    target: Annotated[str, typer.Argument(help="Run folder, or a task family.", metavar="RUN|FAMILY")],
    task_number: Annotated[
        int, typer.Option("--task", help="Number of the task in its split.", min=0, max=2**32 - 1)
    ] = 0,
    split: Annotated[str, typer.Option(help="train, validation, test or outside.")] = "test",
    hidden: Annotated[
        str | None, typer.Option(help="Hidden parameters of your own in it, as JSON.", metavar="JSON")
    ] = None,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="A .gif or .mp4 file; default RUN/play.gif or ./FAMILY.gif.")
    ] = None,
    adapted: Annotated[
        bool | None,
        typer.Option(
            "--adapted/--no-adapted", help="Adapt first, and show before and after.", show_default="for a run"
        ),
    ] = None,
    policy_file: Annotated[
        Path | None, typer.Option("--policy", help="Policy file to play, such as RUN/adapted/NAME/adapted.safetensors.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the operator's candidates, as in `esmaml eval`.", min=0)] = 0,
    fps: Annotated[float | None, typer.Option(help="Pictures a second.", min=1, max=60)] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A family's setting, e.g. --set options.dynamics=kinematic.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Film a policy in a task, off screen and in real time: of a run, before and after adaptation side by side.

    Example: esmaml play runs/first --task 3 --out corner.gif

    A family without a run shows what its robot does with all parameters zero: esmaml play cheetah_direction
    """
    own_package("sim")
    if split not in ("train", "validation", "test", "outside"):
        raise ConfigError(f"--split {split!r}: known are train, validation, test and outside.")
    show = _show(target, policy_file, settings or ())
    family = show.family
    path = out_file or (Path(target) / "play.gif" if show.is_run else Path(f"{target.replace(':', '_')}.gif"))
    check_film_path(path)
    render = importlib.import_module("sim.render")
    named: Split = split  # type: ignore[assignment]
    if named == "outside":
        require_outside(family)
    task, what = family.sample(named, task_number), f"{split} task {task_number}"
    if hidden is not None:
        task, what = importlib.import_module("sim.laws").own_task(task, hidden), "a task of your own"
    # before the first episode: bodies need their shapes
    painter = render.make_painter(family)
    rows, labels = [show.policy.theta], [show.label]
    if show.is_run if adapted is None else adapted:
        params, episodes = _adapt(show, task, operator_seed(seed, task_number))
        rows.append(params)
        labels.append(f"after {episodes} episodes")
    cast = render.Cast(show.policy.spec, show.policy.normaliser, np.stack(rows), labels)
    length, rate = render.length_and_rate(family)
    rate_shown = _pictures_a_second(length, rate, fps, path.suffix == ".gif")
    title = f"{show.family_name}, {what}: {_hidden(family, task)}"
    returns: list[float] = []
    count = 0
    with progress_bar() as bar:
        line = bar.add_task("filming", total=length, note="")

        def pictures() -> Iterator[npt.NDArray[np.uint8]]:
            nonlocal returns, count
            final = score_seed(seed, task_number)
            for frame in render.film(family, painter, cast, task, final, fps=rate_shown, title=title):
                returns, count = list(frame.returns), count + 1
                bar.update(line, completed=frame.tick, note="  ".join(f"{r:8.2f}" for r in returns))
                yield frame.image
            bar.update(line, completed=length)

        size = write_film(path, pictures(), rate_shown)
    painter.close()
    if as_json:
        task_json: dict[str, Any] = task.parameters
        print_json(
            {
                "file": str(path),
                "bytes": size,
                "pictures": count,
                "task": task_json,
                "returns": dict(zip(labels, returns, strict=True)),
            }
        )
        return
    scored = ", ".join(f"{label} {value:.2f}" for label, value in zip(labels, returns, strict=True))
    err.print(f"{path}: {count} pictures, {size / 1e6:.2f} MB. Return: {scored}", highlight=False, soft_wrap=True)
