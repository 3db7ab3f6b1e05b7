"""Mistakes in a user's own family: one line with the user's file and line, the task and the seed; no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from esmaml_robot.cli.main import app
from esmaml_robot.errors import SimulationError
from esmaml_robot.policy import Normaliser, PolicySpec
from sim.tasks import make_family
from sim.tasks.beacon import FourCorners

PAGE = (Path(__file__).parents[2] / "docs" / "your_own_robot.md").read_text(encoding="utf-8")
#: The crawler of the page: name of a file -> its text.
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SMALL = ["--episodes", "40", "--set", "meta.pairs=2", "--set", "operator.queries=2"]
TASK = r"in an episode with seed \d+ in task {'payload': [\d.]+, 'grip': [\d.]+, 'charger': -?1.0}"
EPISODE = ('hidden["grip"]', 'hidden["gripp"]', rf"KeyError: 'gripp', at crawler.py:33 in prepare; {TASK}")


@pytest.fixture
def crawler(tmp_path, monkeypatch):
    """Makes the page's crawler in a folder of its own, with one thing in its module changed."""

    def make(right, wrong):
        assert right in FILES["crawler.py"]
        for name, text in FILES.items():
            (tmp_path / name).write_text(text.replace(right, wrong) if name == "crawler.py" else text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ESMAML_DEBUG", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield make
    sys.modules.pop("crawler", None)


def esmaml(*words):
    """A command in this process: its exit code, and what it said in its last line."""
    done = CliRunner().invoke(app, list(map(str, words)))
    assert "Traceback" not in done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    said = [line for line in done.stderr.splitlines() if line.startswith("esmaml: ")]
    assert len(said) == 1, done.stderr
    return done.exit_code, said[0]


def in_processes(*words, debug=""):
    """The same in a process of its own; all that it said."""
    program = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()"]
    environment = {"PATH": "", "PYTHONPATH": str(Path(__file__).parents[2]), "ESMAML_DEBUG": debug}
    done = subprocess.run(
        [*program, *map(str, words)], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (
            '    robot = "crawler.yaml"\n',
            "",
            r"class Crawler \(crawler.py\): it has no 'robot'; write `robot = ...` in it",
        ),
        ('    name = "crawler"\n', "", r"class Crawler \(crawler.py\): it has no 'name'; write"),
        ("    laws = (\n", "    lawz = (\n", r"class Crawler \(crawler.py\): it has no 'laws'; write"),
        ('    name = "crawler"\n', "    name = 3\n", "`name` is 3; it must be a word"),
        ('"grip", 0.5', '"payload", 0.5', "`laws` has 'payload' 2 times"),
        ("width = 8", "width = 0", "`width` is 0; it must be a whole number from 1 on"),
        ('"policy": {"hidden": [], "clock_steps": 12}', '"policy": 5', "`preset` must be a dict of settings"),
        ("class Crawler(RobotFamily):", "class Crawler(RobotFamily)", r"SyntaxError: expected ':', at crawler.py:47; "),
        (
            '"payload", 0.0, 0.3',
            '"payload", 0.3, 0.0',
            r"law 'payload': its range is \(0.3, 0.0\).* \(crawler.py:\d+ in ",
        ),
        (
            "SERVOS = [",
            "SERVOS = none + [",
            r"NameError: name 'none' is not defined, at crawler.py:15; 'crawler' cannot",
        ),
    ],
)
def test_a_class_that_lacks_something_says_what_and_where(crawler, right, wrong, says):
    crawler(right, wrong)
    code, said = esmaml("tasks", "crawler:Crawler")
    assert code == 2
    assert re.search(says, said), said


@pytest.mark.parametrize(
    ("right", "wrong", "exit_code", "says"),
    [
        (EPISODE[0], EPISODE[1], 10, EPISODE[2]),
        (
            "[TORQUE_NM] * 2", "[TORQUE_NM] * 3", 10,
            rf"error: number of forces should match .*, at crawler.py:37 in drive; {TASK}",
        ),
        ("self.charger[row] *", "self.charger[-1] *", 10, rf"KeyError: -1, at crawler.py:44 in sense; {TASK}"),
        (
            "return pitch, self", "return self", 2,
            r"CrawlerPlant.sense \(crawler.py:40\) returned .*, which is no list of numbers; robot crawler has 2",
        ),
        (
            "return pitch, self", "return pitch, 0.0, self", 2,
            r"CrawlerPlant.sense \(crawler.py:40\) returned 3 values; robot crawler has 2 sensors \(pitch, approach\)",
        ),
        ("return pitch, self", "return (pitch,) or self", 2, "returned 1 value; robot crawler has 2 sensors"),
        ("return pitch, self", "return pitch, None and self", 2, "returned a NoneType among its values"),
        ("def sense(", "def sence(", 2, "CrawlerPlant has no method `sense`"),
        ("urdf = str(", "urdf = strr(", 2, r"NameError: name 'strr' is not defined, at crawler.py:24 in __init__"),
        ("return CrawlerPlant(", "CrawlerPlant(", 2, "Crawler.make_plant returned a NoneType"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_episode_is_one_line_with_its_place_task_and_seed(crawler, right, wrong, exit_code, says):
    crawler(right, wrong)
    code, said = esmaml("train", "crawler:Crawler", "--workers", 1, *SMALL)
    assert re.search(says, said), said
    assert code == exit_code


def test_play_and_eval_say_the_same(crawler):
    crawler("width = 8", "width = 4")
    assert CliRunner().invoke(app, ["train", "crawler:Crawler", "--workers", "1", *SMALL]).exit_code == 0
    sys.modules.pop("crawler")
    crawler(*EPISODE[:2])
    for words in (["eval", "runs/Crawler", "--tasks", 2], ["play", "runs/Crawler"], ["play", "crawler:Crawler"]):
        code, said = esmaml(*words)
        assert re.search(EPISODE[2], said), said
        assert code == 10


def test_a_late_mistake_names_the_row_that_made_it(crawler):
    """Not the first of the batch: the one whose charger lies behind."""
    crawler("self.charger[row] *", "{1.0: 1.0}[self.charger[row]] *")
    family = make_family("crawler:Crawler")
    tasks, seeds = [family.sample("test", n) for n in range(2)], np.array([70, 71], np.uint32)
    bad = next(n for n, task in enumerate(tasks) if task.parameters["charger"] == -1.0)
    policy = PolicySpec(inputs=1, outputs=2, hidden=())
    params = np.zeros((2, policy.dimension), np.float32)
    with pytest.raises(
        SimulationError, match=rf"KeyError: -1.0, at crawler.py:44 in sense; .* seed {seeds[bad]} in task"
    ):
        family.evaluate(policy, Normaliser.identity(1), params, tasks, seeds)
    family.close()


def test_two_workers_say_the_same_and_bring_the_traceback_where_it_is_asked_for(crawler):
    crawler(*EPISODE[:2])
    words = ["train", "crawler:Crawler", "--workers", 2, *SMALL]
    code, said = in_processes(*words)
    assert code == 10
    assert "Traceback" not in said
    assert re.search(rf"^esmaml: task family crawler: {EPISODE[2]}", said, re.MULTILINE), said
    _, said = in_processes(*words, "--resume", debug="1")
    assert 'crawler.py", line 33, in prepare' in said
    assert re.search(r"^KeyError: 'gripp'", said, re.MULTILINE)


def test_one_worker_shows_the_traceback_where_it_is_asked_for(crawler, monkeypatch):
    crawler(*EPISODE[:2])
    monkeypatch.setenv("ESMAML_DEBUG", "1")
    done = CliRunner().invoke(app, ["train", "crawler:Crawler", "--workers", "1", *SMALL])
    assert isinstance(done.exception, SimulationError)
    assert isinstance(done.exception.__cause__, KeyError)


def test_any_other_method_of_the_users_class_is_one_line_too(crawler):
    crawler(
        "    def make_plant", "    def sample(self, split, seed):\n        return self.nothing\n\n    def make_plant"
    )
    code, said = esmaml("play", "crawler:Crawler")
    assert said.startswith("esmaml: AttributeError: 'Crawler' object has no attribute 'nothing', at crawler.py:")
    assert code == 1


def test_a_body_of_another_kind_says_so_of_the_batch(monkeypatch):
    family = FourCorners()
    monkeypatch.setattr(family.plant, "step", lambda *_: {}["wheel"])
    policy = PolicySpec(inputs=2, outputs=2, hidden=())
    tasks, params = [family.sample("test", n) for n in range(3)], np.zeros((3, policy.dimension), np.float32)
    says = r"family four_corners: KeyError: 'wheel', at .*; in one of 3 episodes, the first with seed 5 in task {'goal"
    with pytest.raises(SimulationError, match=says):
        family.evaluate(policy, Normaliser.identity(2), params, tasks, np.array([5, 6, 7], np.uint32))
    family.close()


def test_the_programs_own_faults_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("esmaml_robot.cli.info.print_json", None)
    done = CliRunner().invoke(app, ["info", "--json"])
    assert isinstance(done.exception, TypeError)


def test_a_person_may_still_interrupt(crawler):
    crawler("hidden = task.parameters", "raise KeyboardInterrupt")
    family = make_family("crawler:Crawler")
    policy = PolicySpec(inputs=1, outputs=2, hidden=())
    params = np.zeros((1, policy.dimension), np.float32)
    with pytest.raises(KeyboardInterrupt):
        family.evaluate(policy, Normaliser.identity(1), params, [family.sample("test", 0)], np.zeros(1, np.uint32))
    family.close()
