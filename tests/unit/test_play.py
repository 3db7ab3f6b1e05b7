"""Films: cameras, scenes, the files, and `esmaml play` and `esmaml tasks`."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from esmaml_robot import meta
from esmaml_robot.checkpoint import Checkpoint, RunFolder, save_checkpoint
from esmaml_robot.cli.main import app
from esmaml_robot.cli.settings import assign, run_config
from esmaml_robot.errors import ConfigError, ToolMissing
from esmaml_robot.moments import Moments
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.policy_file import StoredPolicy, save_policy
from esmaml_robot.report.film import check_film_path, gif_rate, write_film
from esmaml_robot.scoring import operator_seed, operator_seeds, score, score_seed, score_seeds
from sim.render import Cast, film, has_picture, make_painter
from sim.tasks import FAMILIES, make_family
from sim.world import RobotWorld
from sim.world.camera import SKY, square_m

F = np.float32
SIZE = (120, 90)
PICTURED = [name for name in FAMILIES if name != "sinusoid"]


def play(*arguments):
    return CliRunner().invoke(app, ["play", *map(str, arguments)])


def cast_of(family, rows, clock=12):
    spec = PolicySpec(inputs=family.inputs, outputs=family.outputs, hidden=(), clock_steps=clock)
    params = (0.5 * np.random.default_rng(0).standard_normal((rows, spec.dimension))).astype(F)
    return Cast(spec, Normaliser.identity(family.inputs), params, [f"robot {i}" for i in range(rows)])


def colours(picture):
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("name", PICTURED)
def test_every_robot_has_a_picture_that_moves(name):
    family = make_family(name)
    assert has_picture(family)
    painter = make_painter(family, SIZE)
    episodes = family.episodes()
    episodes.begin([family.sample("test", 1)], np.zeros(1, np.uint32))
    painter.begin()
    first = painter.picture(0)
    assert (first.shape, first.dtype) == ((90, 120, 3), np.uint8)
    assert colours(first) > 20
    for _ in range(12):
        episodes.advance(np.full((family.outputs, 1), 0.6, F))
    assert (painter.picture(0) != first).any(axis=2).mean() > 0.003
    painter.close()
    family.close()


def test_the_robot_is_in_the_middle_and_stays_there():
    """A robot in a colour that nothing else has: its pixels are around the centre after running a metre."""
    family = make_family("cheetah_direction")
    painter = make_painter(family, SIZE)
    episodes, plant = family.episodes(), family.plant
    episodes.begin([family.sample("test", 0)], np.zeros(1, np.uint32))
    painter.begin()

    def middle():
        picture = painter.picture(0).astype(int)
        rows, columns = np.nonzero(picture[:, :, 0] - picture[:, :, 2] > 60)
        assert len(rows) > 200
        return columns.mean() / SIZE[0], rows.mean() / SIZE[1]

    at = [middle()]
    world = plant.worlds[0]
    for step in range(1, 21):
        world.place_joints({"ignorex": 0.2 * step})
        at.append(middle())
    for x, y in at:
        assert 0.25 < x < 0.75
        assert 0.25 < y < 0.85
    family.close()


def test_shadow_and_sky():
    family = make_family("ant_direction")
    painter = make_painter(family, SIZE)
    family.episodes().begin([family.sample("test", 0)], np.zeros(1, np.uint32))
    painter.begin()
    picture = painter.picture(0).astype(int)
    np.testing.assert_array_equal(picture[0], np.broadcast_to(SKY, (SIZE[0], 3)))
    # grey and darker than a white square, but no part of the orange robot
    grey = np.abs(picture[:, :, 0] - picture[:, :, 2]) < 12
    shadow = grey & (picture.mean(axis=2) > 120) & (picture.mean(axis=2) < 190)
    assert shadow.sum() > 50
    family.close()


def test_bodies_with_shapes_move_with_the_same_bits():
    for name in ("ant_direction", "quadruped_dynamics"):
        plain, seen = make_family(name), make_family(name)
        painter = make_painter(seen, SIZE)
        cast, tasks = cast_of(plain, 2), [plain.sample("test", i) for i in range(2)]
        outcomes = []
        for family in (plain, seen, seen):
            if family is seen:
                painter.begin()
            outcomes.append(
                family.evaluate(cast.policy, cast.normaliser, cast.params, tasks, np.arange(2, dtype=np.uint32))
            )
            if family is seen:
                painter.picture(0)
        for other in outcomes[1:]:
            np.testing.assert_array_equal(other.returns, outcomes[0].returns)
        plain.close()
        seen.close()


def test_shapes_are_loaded_only_for_pictures(monkeypatch):
    made = []
    start = RobotWorld.__init__
    monkeypatch.setattr(RobotWorld, "__init__", lambda self, *a: (made.append(a[3:]), start(self, *a))[1])
    family = make_family("cheetah_direction")
    family.episodes().begin([family.sample("test", 0)], np.zeros(1, np.uint32))
    assert made == [(False,)]
    with pytest.raises(ValueError, match="before the first episode"):
        make_painter(family)
    family.close()
    assert make_family("cheetah_direction").plant.visual is False


def test_squares_of_the_floor():
    assert [square_m(r) for r in (0.1, 0.19, 0.2, 0.49, 0.5, 3.6, 20.0)] == pytest.approx(
        [0.1, 0.1, 0.2, 0.2, 0.5, 2.0, 20.0]
    )


def test_a_film_ends_with_the_episodes_returns():
    family = make_family("four_corners")
    painter = make_painter(family, SIZE)
    cast, task = cast_of(family, 3, clock=None), family.sample("test", 2)
    cast.params[0] = 0
    cast.params[1] = [0, 0, 0, 0, 1, 0]  # leaves the arena: its episode ends early
    frames = list(film(family, painter, cast, task, 9, fps=2.0, title="four corners"))
    same = family.evaluate(cast.policy, cast.normaliser, cast.params, [task] * 3, np.full(3, 9, np.uint32))
    assert frames[-1].returns == tuple(same.returns.tolist())
    assert same.steps.tolist()[:2] != [100, 100]
    assert [f.tick for f in frames] == [0, *range(5, 101, 5)]
    assert len({f.image.shape for f in frames}) == 1
    height, width, _ = frames[0].image.shape
    assert height % 2 == width % 2 == 0
    # the rover at rest looks the same in the first and in the last picture
    left = slice(0, SIZE[0])
    np.testing.assert_array_equal(frames[0].image[-SIZE[1] + 1 :, left], frames[-1].image[-SIZE[1] + 1 :, left])
    painter.close()
    family.close()


def pictures(count):
    for step in range(count):
        out = np.full((40, 60, 3), 255, np.uint8)
        out[10:20, 2 * step : 2 * step + 10] = (200, 80, 10)
        yield out


def test_gif(tmp_path):
    path = tmp_path / "film.gif"
    assert write_film(path, pictures(12), 20.0) == path.stat().st_size > 0
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (12, (60, 40), 0)
        durations = []
        for frame, wanted in enumerate(pictures(12)):
            film.seek(frame)
            durations.append(film.info["duration"])
            np.testing.assert_array_equal(np.asarray(film.convert("RGB")), wanted)
    assert durations == [50] * 11 + [1500]


def test_mp4(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "film.mp4"
    assert write_film(path, pictures(12), 10.0) == path.stat().st_size > 0
    decode = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(decode, capture_output=True, check=True, timeout=60).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(-1, 40, 60, 3).astype(int)
    assert len(shown) == 12 + 15  # the last one stands for 1.5 s
    np.testing.assert_allclose(shown[0], next(pictures(1)), atol=40)
    assert abs(shown[-1] - shown[0]).max() > 80


def test_rates_that_gif_can_show():
    assert [gif_rate(f) for f in (1.0, 10.0, 20.0, 30.0, 60.0, 500.0)] == pytest.approx(
        [1.0, 10.0, 20.0, 100 / 3, 50.0, 50.0]
    )


def test_film_files_that_cannot_be(tmp_path, monkeypatch):
    for name, says in (("film.avi", ".gif or an .mp4"), ("nowhere/film.gif", "does not exist")):
        with pytest.raises(ConfigError, match=says):
            check_film_path(tmp_path / name)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    check_film_path(tmp_path / "film.gif")
    with pytest.raises(ToolMissing, match=r"esmaml-robot\[video\]"):
        check_film_path(tmp_path / "film.mp4")


# the commands


@pytest.fixture
def run(tmp_path):
    config = run_config("nav2d", seed=0, settings=("policy.hidden=[]", "operator.queries=3"))
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    theta = np.array([0.3, 0, 0, 0.3, 0.05, -0.02], F)
    state = meta.start(theta)
    checkpoint = Checkpoint(config, state, Normaliser.identity(2), Moments.empty(2))
    save_checkpoint(folder.checkpoint_file(0), checkpoint)
    return folder


def test_play_shows_what_eval_scored(run, tmp_path):
    done = play(run.path, "--task", 2, "--fps", 1, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    checkpoint = run.newest()
    scored = score(make_family("nav2d"), checkpoint.policy, checkpoint.config.adaptation, "test", tasks=3, seed=0)
    assert said["returns"] == {
        "meta-policy": pytest.approx(float(scored.before[2])),
        "after 4 episodes": pytest.approx(float(scored.after[2])),
    }
    file = run.path / "play.gif"
    assert (said["file"], said["bytes"]) == (str(file), file.stat().st_size)
    with Image.open(file) as shown:
        assert shown.n_frames == said["pictures"]
        assert shown.size[0] > 2 * 400


def test_play_in_a_task_of_ones_own(run, tmp_path):
    said = []
    for goal in (-0.4, 0.9):
        out = tmp_path / f"{goal}.gif"
        done = play(run.path, "--hidden", json.dumps({"goal_x": goal}), "--fps", 1, "--out", out, "--json")
        assert done.exit_code == 0, done.output
        said.append(json.loads(done.stdout))
    drawn = make_family("nav2d").sample("test", 0).parameters
    assert [one["task"] for one in said] == [{**drawn, "goal_x": -0.4}, {**drawn, "goal_x": 0.9}]
    assert said[0]["returns"]["meta-policy"] != said[1]["returns"]["meta-policy"]


def test_seeds_of_a_task_by_itself_are_those_among_others():
    for seed in (0, 3, 2**32 + 7):
        assert [score_seed(seed, i) for i in range(40)] == score_seeds(seed, 40).tolist()
        assert [operator_seed(seed, i) for i in range(40)] == operator_seeds(seed, 40).tolist()


def test_play_the_last_task_of_a_split_and_none_beyond(run, tmp_path):
    done = play(run.path, "--task", 2**32 - 1, "--fps", 1, "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["returns"]) == 2
    done = play(run.path, "--task", 2**32)
    assert done.exit_code == 2
    assert "4294967295" in done.stderr


def test_play_one_policy(run, tmp_path):
    out = tmp_path / "one.gif"
    done = play(run.path, "--no-adapted", "--fps", 1, "--out", out)
    assert done.exit_code == 0, done.output
    with Image.open(out) as shown:
        assert shown.size[0] < 450
    policy = run.newest().policy
    stored = StoredPolicy(policy, "rover_nav", make_family("nav2d").interface_hash, {})
    save_policy(tmp_path / "mine.safetensors", stored)
    done = play("nav2d", "--policy", tmp_path / "mine.safetensors", "--fps", 1, "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert list(json.loads(done.stdout)["returns"]) == ["mine"]


def test_play_a_family_of_gymnasium(tmp_path):
    pytest.importorskip("pygame")
    out = tmp_path / "pole.gif"
    done = play("gym:CartPole-v1", "--set", "options.vary.force_mag=[5,15]", "--adapted", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert 5 <= said["task"]["force_mag"] <= 15
    assert max(said["returns"].values()) >= 8
    with Image.open(out) as shown:
        assert shown.n_frames == said["pictures"] >= 3


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nav3d"], 2, "did you mean 'nav2d'"),
        (["runs/missing"], 2, "no run folder runs/missing"),
        (["nav2d", "--split", "tets"], 2, "'tets'"),
        (["nav2d", "--out", "film.avi"], 2, ".gif or an .mp4"),
        (["nav2d", "--hidden", '{"goal_z": 1}'], 2, "'goal_z' is unknown; known: goal_x, goal_y"),
        (["nav2d", "--policy", "missing.safetensors"], 3, "no policy file"),
        (["sinusoid"], 2, "no picture"),
        (["nav2d", "--set", "options.x=1"], 2, "option x"),
    ],
)
def test_play_what_cannot_be_played(arguments, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = play(*arguments)
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_play_a_policy_of_another_robot(run, tmp_path):
    stored = StoredPolicy(run.newest().policy, "rover_uno", make_family("four_corners").interface_hash, {})
    save_policy(tmp_path / "other.safetensors", stored)
    done = play(run.path, "--policy", tmp_path / "other.safetensors", "--out", tmp_path / "film.gif")
    assert done.exit_code == 4
    assert "spec_hash" in done.stderr


def tasks(*arguments):
    done = CliRunner().invoke(app, ["tasks", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_tasks_lists_every_family_with_what_varies():
    cards = {c["family"]: c for c in json.loads(tasks("--json"))}
    assert list(cards) == list(FAMILIES)
    cheetah = cards["cheetah_velocity"]
    assert cheetah["robot"]["name"] == "half_cheetah"
    assert [s["name"] for s in cheetah["robot"]["sensors"] if s["observed"]] == ["pitch", "pitch_rate", "forward"]
    assert cheetah["robot"]["episode"] == {"steps": 60, "seconds": 2.0}
    assert cheetah["varies"] == [
        {
            "name": "target_speed",
            "law": "U(0, 3)",
            "outside": "",
            "unit": "m/s",
            "meaning": "the forward velocity that pays",
        }
    ]
    config = run_config("cheetah_velocity", seed=0)
    assert cheetah["policy"]["parameters"] == config.policy.dimension
    assert cards["sinusoid"]["robot"] is None
    assert all(c["summary"].endswith(".") and c["varies"] for c in cards.values())
    text = tasks()
    assert all(name in text for name in FAMILIES)


def test_tasks_tells_one_in_detail():
    text = tasks("quadruped_dynamics")
    family = make_family("quadruped_dynamics")
    for law in family.laws:
        assert law.name in text
    for sensor in family.spec.sensors:
        assert sensor.name in text
    assert "outside" in text
    assert "-4 + 1 beacon" in tasks("four_corners")
    assert "58 parameters" in tasks("gym:CartPole-v1")
    assert CliRunner().invoke(app, ["tasks", "nowhere"]).exit_code == 2


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_tells_the_preset_as_set_takes_it(name):
    kept = r"(?:(?:meta|operator|policy|validation)\.\w+|normalise|initial|initial_gain)=\S.*"
    values = {}
    for line in re.findall(kept, tasks(name)):
        assign(values, line.strip())
    assert values == {k: v for k, v in make_family(name).preset.items() if k not in ("options", "episodes")}


def test_tasks_makes_no_world():
    code = (
        "import sys; from sim.world import bullet; bullet.connect = None\n"
        "from esmaml_robot.cli.main import app; app(['tasks', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(FAMILIES)
