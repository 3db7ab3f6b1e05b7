"""The arm with a tool: its equations of motion, what each hidden parameter does, and rows that are independent."""

from __future__ import annotations

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.robot_spec import load_robot
from sim.robots.reacher import FORE_KG, FORE_M, GRAVITY_M_S2, STIFFNESS_NM_RAD, UPPER_KG, UPPER_M, ReacherBodies, tip
from sim.tasks import make_family
from sim.tasks.reacher import CORRECTION_RAD, POSES, ReacherPayload, plan
from sim.trajectories import sensor_paths

F = np.float32
LINEAR = PolicySpec(inputs=4, outputs=2, hidden=())
MLP = PolicySpec(inputs=4, outputs=2, hidden=(8,))
PLAIN = Normaliser.identity(4)
JOG_RAD_S, SEEN_M = 2.0, 0.3  # what the policy gives and sees as 1
EASY = {"camera_turn": 0.0, "tool_kg": 0.05, "friction": 0.05, "shoulder_trim": 0.0, "elbow_trim": 0.0}


@pytest.fixture(scope="module")
def family():
    made = make_family("reacher_payload")
    yield made
    made.close()


def task(**changes):
    return Task("reacher_payload", EASY | changes)


def run(family, thetas, tasks, policy=LINEAR):
    return family.evaluate(policy, PLAIN, np.stack(thetas).astype(F), tasks, np.arange(len(tasks), dtype=np.uint32))


def jogs(shoulder, elbow):
    """A policy that always jogs at the same speeds, rad/s."""
    return np.array([0] * 8 + [shoulder / JOG_RAD_S, elbow / JOG_RAD_S], F)


def closed_loop(gain):
    """A policy that raises the shoulder by `gain` rad/s for every metre that it sees the tool too low."""
    theta = np.zeros(10, F)
    theta[3] = -gain * SEEN_M / JOG_RAD_S
    return theta


STILL = jogs(0.0, 0.0)


def gravity_torque(angles, tool_kg):
    """What gravity pulls at shoulder and elbow, N m."""
    shoulder, fore = angles[0], angles[0] + angles[1]
    elbow = GRAVITY_M_S2 * np.cos(fore) * (FORE_KG * FORE_M / 2 + tool_kg * FORE_M)
    upper = GRAVITY_M_S2 * UPPER_M * np.cos(shoulder) * (UPPER_KG / 2 + FORE_KG + tool_kg)
    return np.stack([upper + elbow, elbow])


def test_at_rest_each_servo_sags_until_its_spring_bears_the_load():
    tools = np.linspace(0.05, 0.6, 40)  # two worlds
    targets = np.tile([[0.3], [0.4]], (1, 40))
    bodies = ReacherBodies(20, 60)
    bodies.reset(targets, tools, np.full(40, 0.2))
    for _ in range(200):
        bodies.step(targets, True)
    np.testing.assert_allclose(bodies.velocity, 0.0, atol=1e-6)
    spring = STIFFNESS_NM_RAD * (targets - bodies.position)
    np.testing.assert_allclose(spring, gravity_torque(bodies.position, tools), rtol=1e-4)
    assert (np.diff(bodies.position, axis=1) < 0).all()  # the heavier the tool, the lower
    bodies.close()


def test_without_torque_the_arm_falls():
    bodies = ReacherBodies(20, 60)
    start = np.array([[0.3], [0.2]])
    bodies.reset(start, np.array([0.3]), np.array([0.1]))
    for _ in range(10):
        bodies.step(start, False)
    assert tip(bodies.position)[1, 0] < tip(start)[1, 0] - 0.1
    bodies.close()


def test_the_tip_by_hand():
    angles = np.array([[0.0, np.pi / 2, 0.0], [0.0, 0.0, np.pi / 2]])
    expected = [[UPPER_M + FORE_M, 0.0, UPPER_M], [0.0, UPPER_M + FORE_M, FORE_M]]
    np.testing.assert_allclose(tip(angles), expected, atol=1e-12)


def test_the_plan_goes_from_pose_to_pose_and_rests_there():
    angles = plan(100, 20)
    assert angles.shape == (101, 2)
    for number, pose in enumerate(POSES):
        np.testing.assert_allclose(angles[25 * number], pose, atol=1e-12)
        if number:
            np.testing.assert_allclose(angles[25 * number - 5 : 25 * number + 1], [pose] * 6, atol=1e-12)


def test_the_return_is_minus_the_mean_distance_in_centimetres(family):
    one = task(tool_kg=0.4, friction=0.2)
    path, returns = sensor_paths(family, LINEAR, PLAIN, jogs(0.02, 0.01)[None], [one])
    assert returns[0] == pytest.approx(-100 * path[1:, 4, 0].mean(), rel=1e-4)
    np.testing.assert_allclose(path[:100, :2, 0], plan(100, 20)[1:], atol=1e-4)  # the policy sees what is to come


@pytest.mark.parametrize(
    "harder", [{"tool_kg": 0.6}, {"friction": 0.25}, {"shoulder_trim": -0.3}, {"elbow_trim": -0.3}]
)
def test_every_load_costs_distance(family, harder):
    easy, hard = run(family, [STILL] * 2, [task(), task(**harder)]).returns
    assert hard < easy - 0.1


def test_the_camera_sees_the_error_turned(family):
    one, turned = (task(tool_kg=0.6, camera_turn=t) for t in (0.0, np.pi))
    paths, _ = sensor_paths(family, LINEAR, PLAIN, np.zeros((2, 10), F), [one, turned])
    np.testing.assert_allclose(paths[:, 2:4, 1], -paths[:, 2:4, 0], atol=1e-4)
    np.testing.assert_allclose(np.hypot(paths[:, 2, 0], paths[:, 3, 0]), paths[:, 4, 0], atol=2e-4)
    assert paths[-1, 3, 0] < -0.05  # too low


def test_a_loop_closed_the_right_way_round_carries_the_load_and_the_other_way_round_runs_away(family):
    heavy = {"tool_kg": 0.6, "shoulder_trim": -0.2}
    tasks = [task(**heavy)] * 3 + [task(**heavy, camera_turn=np.pi)] * 2
    policies = [STILL, closed_loop(3.0), closed_loop(-3.0), closed_loop(3.0), closed_loop(-3.0)]
    still, right, wrong, wrong_turned, right_turned = run(family, policies, tasks).returns
    assert right > still + 8
    assert wrong < still - 8
    assert right_turned == pytest.approx(right, abs=0.05)
    assert wrong_turned == pytest.approx(wrong, abs=0.5)


def test_a_jog_adds_up_to_a_correction_within_its_limit(family):
    up, start = np.array([[2.0], [0.0]], F), np.array(POSES[0])[:, None]
    family.plant.reset([task()], np.zeros(1, np.uint32))
    for _ in range(100):
        sensed = family.plant.step(up)
    lifted = tip(start + np.array([[CORRECTION_RAD], [0.0]])) - tip(start)
    np.testing.assert_allclose(sensed[2:4], lifted, atol=0.03)  # back at the first pose, less what it sags


def test_a_mending_jog_at_the_start_mends_a_trim(family):
    tasks = [task(), task(shoulder_trim=-0.2)]
    family.plant.reset(tasks, np.zeros(2, np.uint32))
    family.plant.step(np.array([[0.0, 2.0], [0.0, 0.0]], F))
    for _ in range(2):  # 0.1 rad a period at 2 rad/s
        sensed = family.plant.step(np.array([[0.0, 1.0], [0.0, 0.0]], F))
    for _ in range(60):
        sensed = family.plant.step(np.zeros((2, 2), F))
    np.testing.assert_allclose(sensed[:, 1], sensed[:, 0], atol=1e-3)


def test_rows_together_are_each_alone_bit_for_bit(family):
    thetas = np.random.default_rng(1).standard_normal((40, MLP.dimension)).astype(F)
    tasks, seeds = [family.sample("test", i) for i in range(40)], np.arange(40, dtype=np.uint32)
    together = family.evaluate(MLP, PLAIN, thetas, tasks, seeds).returns
    for i in (39, 32, 31, 5, 0):
        alone = family.evaluate(MLP, PLAIN, thetas[i : i + 1], [tasks[i]], seeds[i : i + 1]).returns
        assert alone[0] == together[i]
    np.testing.assert_array_equal(family.evaluate(MLP, PLAIN, thetas, tasks, seeds).returns, together)


def test_steps_of_the_physics_are_short_enough(family):
    spec = load_robot("reacher")
    fine = ReacherPayload(spec.model_copy(update={"physics_rate_hz": 1000}))
    tasks = [task(tool_kg=t, friction=f) for t in (0.05, 0.6) for f in (0.05, 0.25)]
    thetas = [np.zeros(10)] * 4
    np.testing.assert_allclose(run(family, thetas, tasks).returns, run(fine, thetas, tasks).returns, atol=0.4)
    fine.close()


def test_splits_share_no_task(family):
    splits = ("train", "validation", "test")
    assert len({tuple(family.sample(s, i).parameters.values()) for s in splits for i in range(300)}) == 900


def test_a_robot_of_other_sensors_is_refused():
    with pytest.raises(ConfigError, match="robot rover_uno: the simulated arm has sensors"):
        _ = ReacherPayload(load_robot("rover_uno")).plant
