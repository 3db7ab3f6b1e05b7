"""Environment steps per second beside EvoTorch's GymNE and evosax with a Gymnasium loop: same environment, one run.

    python -m benchmarks.peers --venv ~/.cache/esmaml_robot/peers

Everybody runs our registered Gymnasium environment, or what is behind it, with policies of the same size, in one
process. Ours is the training loop: adaptations of an iteration side by side. The peers' frameworks (torch, jax) go into
a virtual environment of their own, made by the first run in the folder of --venv; a peer that does not install or start
is reported with the reason. Turns are interleaved, steps are those before the end of an episode, seconds are processor
time of all threads, the best turn counts. It says how fast steps are made, not how well the algorithms learn from them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tomllib
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from esmaml_robot.errors import ConfigError
from sim.tasks import FAMILIES, make_family

from .bare_loop import Loop, require_plant
from .program import in_one_line, write_json

_ROOT = Path(__file__).parents[1]
#: What each peer needs.
REQUIREMENTS = {"evotorch": ("torch==2.13.0", "evotorch"), "evosax": ("evosax", "jax")}
_INSTALL_S = 1800


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _install(folder: Path, packages: Sequence[str]) -> str | None:
    """Install packages; why it failed, or None."""
    command = [str(_python(folder)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{', '.join(packages)} not installed within {_INSTALL_S} s"
    if done.returncode == 0:
        return None
    return f"{', '.join(packages)} not installed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"


def prepare(folder: Path) -> dict[str, str | None]:
    """The virtual environment with our own requirements and the peers; what keeps a peer out, or None.

    Raises:
        ConfigError: there can be no virtual environment in this folder.
    """
    try:
        if not _python(folder).exists():
            venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"--venv {folder}: no virtual environment can be made there ({error}); name another."
        ) from error
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if (problem := _install(folder, project["dependencies"])) is not None:
        return dict.fromkeys(REQUIREMENTS, problem)
    return {peer: _install(folder, packages) for peer, packages in REQUIREMENTS.items()}


def versions(folder: Path) -> dict[str, str]:
    """The version of each peer that is installed."""
    command = [str(_python(folder)), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {p["name"]: p["version"] for p in json.loads(listed or "[]") if p["name"] in REQUIREMENTS}


class _Peer:
    """A peer's loop in a process of its own, a turn at a time."""

    def __init__(self, folder: Path, peer: str, env_id: str, hidden: tuple[int, ...]) -> None:
        command = [str(_python(folder)), "-m", "benchmarks.peer_loops", peer, env_id, *map(str, hidden)]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        answer = self._answer()
        if answer != "ready":
            said = self._process.communicate()[1].strip().splitlines()
            raise OSError(f"does not start: {said[-1] if said else 'it said nothing'}")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready" or line[:1].isdigit():
                return line.strip()
        return ""

    def turn(self) -> float:
        """Environment steps a second."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        steps, seconds = self._answer().split()
        return int(steps) / float(seconds)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def require_registered(name: str) -> None:
    """Refuse a family that has no loop, or no environment for the peers. Raises ConfigError."""
    require_plant(name)
    if name not in FAMILIES:
        raise ConfigError(f"task family {name} does not ship, so it is no registered environment that peers can run.")


def measure(name: str, folder: Path, missing: dict[str, str | None], turns: int) -> dict[str, float | str]:
    """Steps a second of ours and of each peer; a text instead where a peer does not run."""
    width = make_family(name).width  # type: ignore[attr-defined]
    loop = Loop(name, width, ("policy.clock_steps=null", *(("operator.queries=3",) if width else ())))
    loop.record()
    spec = loop.config.policy
    env_id = f"esmaml/{FAMILIES[name][1]}-v0"
    result: dict[str, float | str] = {}
    peers = {}
    for peer, problem in missing.items():
        try:
            if problem is not None:
                raise OSError(problem)
            peers[peer] = _Peer(folder, peer, env_id, spec.hidden)
        except OSError as error:
            result[peer] = str(error)
    ours: list[list[float]] = []
    rates: dict[str, list[float]] = {peer: [] for peer in peers}
    for _ in range(turns):
        ours.append(loop.seconds())
        for peer, process in peers.items():
            rates[peer].append(process.turn())
    result["esmaml-robot"] = loop.useful / min(sum(seconds) for seconds in ours)
    result |= {peer: float(np.max(turn)) for peer, turn in rates.items()}
    for process in peers.values():
        process.close()
    loop.close()
    return result


@in_one_line
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, required=True, help="folder for the peers' virtual environment; 3 GB")
    parser.add_argument("--families", nargs="+", default=["four_corners", "cheetah_direction"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="write the figures here as well")
    options = parser.parse_args()
    console = Console(width=150)
    folder = options.venv.expanduser().resolve()
    for name in options.families:  # before anything is installed
        require_registered(name)
    with console.status(f"installing into {folder}"):
        missing = prepare(folder)
    results = {}
    for name in options.families:
        with console.status(name):
            results[name] = measure(name, folder, missing, options.turns)
    table = Table(title="environment steps per second of processor time, one process")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    for who in ("esmaml-robot", *REQUIREMENTS):
        cells = []
        for row in results.values():
            value, own = row[who], float(row["esmaml-robot"])
            cells.append(value if isinstance(value, str) else f"{value:.0f} (ours is x{own / value:.2f})")
        table.add_row(who, *cells)
    console.print(table)
    write_json(options.json, {"versions": versions(folder), "steps_per_second": results})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
