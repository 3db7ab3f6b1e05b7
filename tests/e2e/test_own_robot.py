"""A user's own robot, as docs/your_own_robot.md makes it: its files, its commands, and the mistakes it lists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from PIL import Image

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_robot.md").read_text(encoding="utf-8")
#: The page's budgets, and those of this test.
SMALLER = {"--episodes": "384", "--tasks": "3"}
FPS = 2
TIMEOUT_S = 300


def files_of(page):
    """Name -> text of every file that the page shows."""
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))


def commands_of(page):
    """The page's commands, one list of words each."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def smaller(words):
    fewer = [SMALLER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    return [*fewer, "--fps", str(FPS)] if words[1] == "play" else fewer


def run(words, folder):
    """A command as its user runs it: the installed console script, in the folder of the robot."""
    program = Path(sysconfig.get_path("scripts")) / words[0]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "120"}
    return subprocess.run(
        [program, *words[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """The page's folder after all its commands, and what each of them said."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, text in files_of(PAGE).items():
        (folder / name).write_text(text, encoding="utf-8")
    said = {}
    for words in commands_of(PAGE):
        done = run(smaller(words), folder)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        said[" ".join(words[:2])] = done
    return folder, said


def test_the_page_shows_its_files_and_commands():
    assert list(files_of(PAGE)) == ["crawler.urdf", "crawler.yaml", "crawler.py"]
    used = [words[1] for words in commands_of(PAGE)]
    assert used == ["tasks", "play", "train", "train", "eval", "play", "adapt", "export"]
    assert {words[0] for words in commands_of(PAGE)} == {"esmaml"}


def test_the_crawler_is_described_trained_and_scored(workshop):
    folder, said = workshop
    tasks = said["esmaml tasks"].stdout
    for word in ("shoulder", "pitch", "payload", "U(0, 0.3)", "U(0.4, 0.6)", "kg", "8 parameters"):
        assert word in tasks
    assert "domain randomisation" in said["esmaml eval"].stdout
    assert (folder / "runs/crawler/config.yaml").read_text().count("crawler:Crawler") == 1


def test_the_films_show_it(workshop):
    folder, _ = workshop
    with Image.open(folder / "rest.gif") as rest, Image.open(folder / "crawler.gif") as both:
        assert rest.n_frames >= 3 * FPS
        assert both.size[0] > 1.9 * rest.size[0]


def test_it_is_adapted_over_the_line_and_exported(workshop):
    folder, said = workshop
    session = folder / "runs/crawler/adapted/robot"
    assert (session / "adapted.safetensors").stat().st_size > 0
    assert "bit-equal" in said["esmaml export"].stdout
    source = (folder / "runs/crawler/export/policy.c").read_text()
    assert "pitch" in (folder / "runs/crawler/export/policy.h").read_text() + source


def test_its_hidden_task_is_the_familys_own(workshop):
    """Over the line, the crawler moves with the bits of the simulator: the same return for the same parameters."""
    folder, _ = workshop
    code = (
        "import json, sys; from pathlib import Path; import numpy as np\n"
        "from esmaml_robot.checkpoint import RunFolder; from sim.tasks import make_family\n"
        "policy = RunFolder(Path('runs/crawler')).newest().policy; family = make_family('crawler:Crawler')\n"
        "task = family.sample('test', 3)\n"
        "got = family.evaluate(policy.spec, policy.normaliser, policy.theta[None], [task], np.zeros(1, np.uint32))\n"
        "print(json.dumps(float(got.returns[0])))"
    )
    simulated = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    again = run(shlex.split('esmaml adapt runs/crawler --port "sim://crawler?seed=3" --name again --json'), folder)
    assert again.returncode == 0, again.stderr
    first = float(re.search(r'"first_return": ([-\d.e]+)', again.stdout)[1])
    assert first == float(simulated.stdout)


MISTAKES = [
    ("crawler.py", "crawler.urdf", "crawlr.urdf", "there is no robot model", "crawlr.urdf"),
    ("crawler.py", 'SERVOS = ["shoulder"', 'SERVOS = ["sholder"', "no movable joint 'sholder'", "shoulder, elbow"),
    ("crawler.py", 'change_dynamics("body"', 'change_dynamics("bodey"', "no link 'bodey'", "forearm"),
    (
        "crawler.py",
        'sensors=["pitch", "approach"]',
        'sensors=["pitch"]',
        "has sensors pitch; the file has pitch, approach",
        "agree",
    ),
    ("crawler.py", "def make_plant", "def make_plants", "Crawler has no make_plant", "write one"),
    ("crawler.py", "class Crawler(", "class Crowler(", "has no class 'Crawler'", "RobotFamily"),
    ("crawler.py", 'robot = "crawler.yaml"', 'robot = "crowler.yaml"', "no robot file", "crowler.yaml"),
    ("crawler.py", "from sim.laws", "from sim.lawz", "cannot import 'crawler'", "sim.lawz"),
    ("crawler.py", '    robot = "crawler.yaml"\n', "", "Crawler (crawler.py): it has no 'robot'", "a YAML file"),
    (
        "crawler.py",
        "(RobotFamily):",
        "(RobotFamily)",
        "SyntaxError: expected ':', at crawler.py:47",
        "cannot be imported",
    ),
    (
        "crawler.py",
        "return pitch, ",
        "return (pitch,) or ",
        "sense (crawler.py:40) returned 1 value",
        "2 sensors (pitch,",
    ),
    ("crawler.py", "0.0, 0.3", "0.3, 0.0", "law 'payload': its range is (0.3, 0.0)", "lower one first"),
    ("crawler.yaml", "rate_limit: 8.0  ", "rate_limt: 8.0  ", "crawler.yaml: actuators.0.rate_limt", "rate_limit"),
    ("crawler.yaml", "sensor: approach, weight", "sensor: aproach, weight", "names 'aproach'", "approach, pitch"),
    ("crawler.urdf", "</robot>", "<robot>", "Bullet cannot read", "crawler.urdf"),
]


@pytest.mark.parametrize(("file", "right", "wrong", "what", "where"), MISTAKES)
def test_mistakes_are_one_line(tmp_path, file, right, wrong, what, where):
    texts = files_of(PAGE)
    assert right in texts[file]
    texts[file] = texts[file].replace(right, wrong)
    if wrong.startswith('SERVOS = ["sholder'):  # as somebody who misspells it everywhere but in the URDF
        texts = {n: t if n.endswith("urdf") else t.replace("shoulder", "sholder") for n, t in texts.items()}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run(shlex.split("esmaml train crawler:Crawler --out runs/crawler --episodes 384 --workers 1"), tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("esmaml: ")]
    assert len(said) == 1, done.stderr
    assert what in said[0]
    assert where in said[0]
    assert "Traceback" not in done.stderr
