"""`esmaml tasks`: the task families, what varies in them and what the policy sees."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ..evaluation import TaskFamily
from ..robot_spec import Actuator, RobotSpec, Sensor
from .common import family_factory, guarded, out, own_package, print_json
from .settings import run_config

#: More sensors or actuators than this are counted, not listed, in the table of all families.
MANY = 8


def _signal(signal: Sensor | Actuator) -> dict[str, Any]:
    return {"name": signal.name, "unit": signal.unit, "range": list(signal.range)}


def _robot(spec: RobotSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "control_rate_hz": spec.control_rate_hz,
        "sensors": [{**_signal(s), "observed": s.observed} for s in spec.sensors],
        "actuators": [{**_signal(a), "rate_limit": a.rate_limit} for a in spec.actuators],
        "episode": {"steps": spec.episode.steps, "seconds": spec.episode.steps * spec.control_period_s},
        "abort": [a.model_dump(mode="json") for a in spec.abort],
        "reward": spec.reward.model_dump(mode="json"),
    }


def _varies(law: Any) -> dict[str, Any]:
    return {
        "name": law.name,
        "law": law.describe(),
        "outside": law.describe_outside(),
        "unit": law.unit,
        "meaning": law.meaning,
    }


def _options(family: TaskFamily) -> dict[str, Any]:
    options = getattr(family, "options", None)
    return {} if options is None else dict(_flat(options.model_dump(mode="json")))


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Groups of settings by dotted keys, as --set takes them."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _preset(family: TaskFamily) -> dict[str, Any]:
    """What the family sets of a training run, by the keys of --set; all else is at its default."""
    return {k: v for k, v in _flat(family.preset) if not k.startswith("options.") and k != "episodes"}


def _shown(value: Any) -> str:
    """A setting as --set takes it back."""
    return json.dumps(value) if isinstance(value, list | bool) or value is None else str(value)


def card(name: str) -> dict[str, Any]:
    """All that is to say about a family, as plain JSON values; no world is made for it.

    Raises:
        ConfigError: there is no such family, or its robot's file is wrong.
    """
    family = family_factory()(name, {})
    config = run_config(name, seed=0)
    laws = getattr(family, "laws", ())
    text = inspect.getdoc(type(family)) or ""
    return {
        "family": name,
        "summary": text.partition("\n")[0],
        "robot": _robot(family.spec) if family.spec else None,
        "inputs": family.inputs,
        "outputs": family.outputs,
        "varies": [_varies(law) for law in laws if len(getattr(law, "values", "two")) > 1],
        "options": _options(family),
        "preset": _preset(family),
        "policy": {"describe": config.policy.describe(), "parameters": config.policy.dimension},
        "operator": config.operator.name,
        "adaptation_episodes": config.adaptation.build().episodes,
        "training_episodes": config.episodes,
    }


def _names(signals: Iterable[Mapping[str, Any]]) -> str:
    names = [s["name"] for s in signals]
    if len(names) > MANY:
        return f"{len(names)} signals: {', '.join(names[:3])}, ..."
    return ", ".join(names)


def _law(varied: Mapping[str, Any]) -> str:
    unit = "" if varied["unit"] in ("", "1") else f" {varied['unit']}"
    return f"{varied['name']} {varied['law']}{unit}"


def _overview(cards: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Task families",
        caption="esmaml tasks NAME says more. Besides: gym:ID for any Gymnasium environment, module:Class for your own",
        show_lines=True,
    )
    table.add_column("family on its robot", no_wrap=True)
    for column in ("the policy sees", "and drives", "what varies, hidden from it"):
        table.add_column(column, overflow="fold")
    for c in cards:
        robot = c["robot"]
        lines = [f"[bold]{c['family']}[/bold]"]
        seen, driven = (f"{n} number{'s' if n > 1 else ''}" for n in (c["inputs"], c["outputs"]))
        if robot is not None:
            seen = _names(s for s in robot["sensors"] if s["observed"])
            driven = _names(robot["actuators"])
            seconds, steps = robot["episode"]["seconds"], robot["episode"]["steps"]
            lines += [robot["name"], f"{seconds:g} s, {steps} periods"]
        lines.append(f"{c['policy']['parameters']} parameters")
        table.add_row("\n".join(lines), seen, driven, "\n".join(_law(v) for v in c["varies"]))
    return table


def _rows(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _range(signal: Mapping[str, Any]) -> str:
    return f"{signal['range'][0]:g} to {signal['range'][1]:g}"


def _term(term: Mapping[str, Any]) -> str:
    """A reward term as a formula."""
    signal = term.get("sensor") or term.get("actuator") or ""
    target = f" - {term['target']:g}" if term.get("target") else ""
    text = {
        "constant": "",
        "linear": f" {signal}",
        "square": f" ({signal}{target})^2",
        "progress": f" (change of {signal})",
        "action_square": f" {signal}^2",
    }[term["kind"]]
    return f"{term['weight']:g}{text}"


def _show(c: Mapping[str, Any]) -> None:
    out.print(f"[bold]{c['family']}[/bold]  {c['summary']}", highlight=False)
    robot = c["robot"]
    if robot:
        out.print(f"on {robot['name']}: {robot['summary']}", highlight=False)
        sensors = [
            (s["name"], s["unit"], _range(s), "yes" if s["observed"] else "no: reward, abort") for s in robot["sensors"]
        ]
        actuators = [
            (a["name"], a["unit"], _range(a), f"{a['rate_limit']:g} {a['unit']}/s") for a in robot["actuators"]
        ]
        out.print(_rows("Sensors", ("name", "unit", "range", "seen by the policy"), sensors))
        out.print(_rows("Actuators", ("name", "unit", "range", "rate limit"), actuators))
    laws = [(v["name"], v["unit"], v["law"], v["outside"] or "as inside", v["meaning"]) for v in c["varies"]]
    if laws:
        out.print(
            _rows("Hidden, drawn anew for each task", ("name", "unit", "law", "split `outside`", "meaning"), laws)
        )
    facts = {"policy": c["policy"]["describe"]}
    if robot:
        episode, charge = robot["episode"], robot["reward"]["after_abort"]
        facts["episode"] = (
            f"{episode['steps']} control periods at {robot['control_rate_hz']} Hz: {episode['seconds']:g} s"
        )
        facts["reward a period"] = " + ".join(_term(t) for t in robot["reward"]["terms"]).replace("+ -", "- ")
        aborts = [f"{a['sensor']} outside {a['allowed'][0]:g} to {a['allowed'][1]:g}" for a in robot["abort"]]
        facts["ends early"] = "; ".join(aborts) or "never"
        if aborts and charge:
            facts["ends early"] += f"; each period cut off counts {charge:g}"
    facts["adaptation"] = f"{c['operator']}, {c['adaptation_episodes']} episodes"
    facts["training"] = f"{c['training_episodes']} episodes by default"
    facts["preset"] = "\n".join(f"{key}={_shown(value)}" for key, value in c["preset"].items())
    if c["options"]:
        facts["options"] = "\n".join(f"options.{key}={value}" for key, value in c["options"].items())
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(f"[bold]{key}[/bold]", escape(value))
    out.print(table, highlight=False)


@guarded
def tasks(
    name: Annotated[str | None, typer.Argument(help="One family in detail; without it, a table of all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """List the task families, or describe one: sensors, actuators, what varies and by which law.

    Example: esmaml tasks cheetah_direction
    """
    own_package("sim")
    if name is not None:
        found = card(name)
        print_json(found) if as_json else _show(found)
        return
    cards = [card(n) for n in importlib.import_module("sim.tasks").FAMILIES]
    print_json(cards) if as_json else out.print(_overview(cards))
