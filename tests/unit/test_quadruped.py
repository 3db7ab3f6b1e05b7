"""Quadrupeds: legs that reach where they are told, a gait that walks and does not skate, and what a task changes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esmaml_robot.errors import ConfigError
from esmaml_robot.evaluation import Task
from esmaml_robot.policy import Normaliser, PolicySpec
from esmaml_robot.robot_spec import load_robot
from sim.robots import quadruped_a1, quadruped_minitaur
from sim.robots.quadruped import FULL_BATTERY_V, SENSORS, QuadrupedPlant
from sim.robots.quadruped_a1 import A1, A1_STRIDES
from sim.robots.quadruped_gait import LEGS, Stride, Trot
from sim.robots.quadruped_minitaur import MINITAUR
from sim.robots.quadruped_model import EMPTY_KG, PAYLOAD_LINK, place_payload
from sim.tasks import make_family
from sim.tasks.quadruped import TURN, TURN_ARM_M, QuadrupedDirection, QuadrupedDynamics
from sim.world import bullet

F = np.float32
PLAIN = Normaliser.identity(5)
REST = ((0.0, 0.0, 0.0),) * 4
BODIES = {"a1": A1, "a1_odometry": A1_STRIDES, "minitaur": MINITAUR}


@pytest.fixture(scope="module")
def families():
    made = {name: make_family(name) for name in ("quadruped_dynamics", "minitaur_dynamics", "quadruped_direction")}
    yield made
    for family in made.values():
        family.close()


@pytest.fixture
def a1(families):
    return families["quadruped_dynamics"].plant


@pytest.fixture
def minitaur(families):
    return families["minitaur_dynamics"].plant


def task(**parameters):
    return Task("quadruped_dynamics", parameters)


def walk(plant, periods, parameters=None, **commands):
    """Sensor values (SI) by name of an episode under constant commands, one a control period after the first."""
    names = [a.name for a in plant.spec.actuators]
    assert set(commands) <= set(names)
    given = np.array([[commands.get(name, 0.0)] for name in names], F)
    path = [plant.reset([task(**(parameters or {}))], np.zeros(1, np.uint32))]
    path += [plant.step(given) for _ in range(periods)]
    return dict(zip(SENSORS, np.array(path)[:, :, 0].T, strict=True))


def point_of(world, link, point):
    """A point of a link's frame in the world's (m)."""
    client = {"physicsClientId": world._client}
    state = bullet.getLinkState(world.body, world.links[link], computeForwardKinematics=1, **client)
    return np.array(bullet.multiplyTransforms(state[4], state[5], point, (0, 0, 0, 1))[0])


# --- gait ------------------------------------------------------------------------------------------------------------

TROT = Trot(feet=((0.2, -0.1), (0.2, 0.1), (-0.2, -0.1), (-0.2, 0.1)), height=0.3, lift=0.05)


def test_diagonal_legs_step_together_and_the_others_half_a_cycle_later():
    for phase in np.linspace(0.0, 1.0, 13).tolist():
        now = np.array(TROT.targets(phase, Stride(0.1, 0.0, 0.0, REST)))
        later = np.array(TROT.targets(phase + 0.5, Stride(0.1, 0.0, 0.0, REST)))
        beside = now - [(x, y, -0.3) for x, y in TROT.feet]
        np.testing.assert_allclose(beside[0], beside[3], atol=1e-12)
        np.testing.assert_allclose(beside[1], beside[2], atol=1e-12)
        np.testing.assert_allclose(later[0] - now[0], beside[1] - beside[0], atol=1e-12)


@pytest.mark.parametrize("stride", [Stride(0.1, 0.04, 0.0, REST), Stride(0.0, 0.0, 0.2, REST)])
def test_feet_that_stand_are_drawn_as_the_trunk_moves_over_the_ground(stride):
    """Through half a cycle the trunk goes one stride: to first order, a standing foot stays where it is."""
    phases = np.linspace(0.0, 0.4999, 20)
    path = np.array([TROT.targets(p, stride) for p in phases.tolist()])[:, 0]  # front right stands now
    assert np.ptp(path[:, 2]) == 0.0
    gone = 2.0 * phases - 0.5
    x, y = TROT.feet[0]
    on_ground = path[:, :2] + np.outer(gone, (stride.x - stride.turn * y, stride.y + stride.turn * x))
    np.testing.assert_allclose(on_ground, np.tile((x, y), (20, 1)), atol=1e-4)


def test_a_swinging_foot_is_lifted_and_arrives_without_a_jump():
    phases = np.linspace(0.5, 1.5, 400).tolist()
    path = np.array([TROT.targets(p, Stride(0.1, 0.0, 0.0, REST))[0] for p in phases])
    assert path[:, 2].max() == pytest.approx(-0.25, abs=1e-4)
    assert path[:, 2].min() == -0.3
    assert np.abs(np.diff(path, axis=0)).max() < 0.002


# --- legs ------------------------------------------------------------------------------------------------------------


def feet_about(body, seed):
    """Targets near the feet's usual places; only in the leg's plane for the Minitaur."""
    spread = np.array([0.06, 0.05, 0.04]) if body is A1 else np.array([0.04, 0.0, 0.03])
    usual = [(x, y, -body.trot.height) for x, y in body.trot.feet]
    return usual + np.random.default_rng(seed).uniform(-1, 1, (4, 3)) * spread


@pytest.mark.parametrize("seed", range(4))
def test_joint_angles_put_the_toes_of_an_a1_where_they_should_be(a1, seed):
    walk(a1, 0)
    world, wanted = a1.worlds[0], feet_about(A1, seed)
    world.place_joints(dict(zip(A1.joints, quadruped_a1.joint_angles([tuple(f) for f in wanted]), strict=True)))
    trunk = np.array([0.0, 0.0, A1.clearance])
    for shank, foot in zip(A1.shanks, wanted, strict=True):
        np.testing.assert_allclose(point_of(world, shank, (0, 0, -0.2)) - trunk, foot, atol=1e-4)


def test_a_point_out_of_reach_is_approached_and_gives_angles_within_the_joints_limits(a1):
    walk(a1, 0)
    limits = [(a1.worlds[0].joints[name].low, a1.worlds[0].joints[name].high) for name in A1.joints]
    for scale in (0.0, 0.2, 1.0, 5.0):
        for seed in range(8):
            feet = feet_about(A1, seed) * scale
            for angle, (low, high) in zip(A1.angles([tuple(f) for f in feet]), limits, strict=True):
                assert math.isfinite(angle)
                if scale != 0.0:
                    assert low - 0.01 < angle < high + 0.01


@pytest.mark.parametrize("seed", range(4))
def test_motor_angles_of_a_minitaur_hold_the_knees_where_the_lower_links_can_meet(minitaur, seed):
    """The pin is as far from either knee as a lower link is long, and the knees are on its two sides."""
    walk(minitaur, 0)
    world, wanted = minitaur.worlds[0], feet_about(MINITAUR, seed)
    world.place_joints(dict(zip(MINITAUR.joints, MINITAUR.angles([tuple(f) for f in wanted]), strict=True)))
    base = {"link": "motor_front_rightR_link", "at": (0.2375, -0.0185)}
    hip = point_of(world, base["link"], (0.0, 0.0, 0.0))[[0, 2]]
    for leg, foot in zip(LEGS, wanted, strict=True):
        pin = hip - base["at"] + foot[[0, 2]]
        names = [f"lower_leg_{quadruped_minitaur._NAMES[leg]}{motor}_link" for motor in "RL"]
        knees = [point_of(world, name, (0.0, 0.0, 0.0))[[0, 2]] for name in names]
        assert [math.dist(knee, pin) for knee in knees] == pytest.approx([0.2, 0.2], abs=1e-4)
        assert min(k[0] for k in knees) < pin[0] < max(k[0] for k in knees)


def test_a_standing_minitaur_has_its_pins_closed(minitaur):
    walk(minitaur, 0)
    world = minitaur.worlds[0]
    for pin in MINITAUR.pins:
        ends = [point_of(world, link, point) for link, point in zip(pin.links, pin.points, strict=True)]
        assert math.dist(*ends) < 1e-4


# --- walking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("commands", "sensor", "low", "high"),
    [
        ({"stride_x": 0.1}, "forward", 0.4, 0.9),
        ({"stride_x": -0.06}, "forward", -0.6, -0.2),
        ({"stride_y": 0.06}, "lateral", 0.2, 0.6),
        ({"stride_y": -0.06}, "lateral", -0.6, -0.2),
        ({"turn": 0.3}, "turn_rate", 1.2, 3.0),
        ({"turn": -0.3}, "turn_rate", -3.0, -1.2),
        ({}, "forward", -0.1, 0.1),
    ],
)
def test_an_a1_goes_where_a_constant_command_sends_it(a1, commands, sensor, low, high):
    path = walk(a1, 60, **commands)
    assert low < path[sensor][1:].mean() < high
    assert max(np.abs(path["roll"]).max(), np.abs(path["pitch"]).max()) < 0.4
    assert path["height"].min() > 0.2


def test_a_minitaur_goes_forward_and_backward_with_its_legs_pinned(minitaur):
    for stride, low, high in ((0.1, 0.3, 0.8), (-0.06, -0.8, -0.2)):
        path = walk(minitaur, 60, stride_x=stride)
        assert low < path["forward"][1:].mean() < high
        world = minitaur.worlds[0]
        for pin in MINITAUR.pins:
            ends = [point_of(world, link, point) for link, point in zip(pin.links, pin.points, strict=True)]
            assert math.dist(*ends) < 0.01


def test_it_walks_and_does_not_skate(a1):
    """Feet that carry the robot stay where they are, and no more than two at a time do, as in a trot."""
    walk(a1, 20, stride_x=0.1)
    world, command = a1.worlds[0], np.array([[0.1]] + [[0.0]] * 11, F)
    client = {"physicsClientId": world._client}
    step, rate = world.step, a1.spec.physics_rate_hz
    last, slips, standing = {}, [], []

    def watched(count):
        step(count)
        touching = {
            contact[3]: np.array(contact[5][:2])
            for contact in bullet.getContactPoints(bodyA=world.body, **client)
            if contact[9] > 20.0  # N
        }
        slips.extend(math.dist(at, last[link]) * rate for link, at in touching.items() if link in last)
        standing.append(len(touching))
        last.clear()
        last.update(touching)

    world.step = watched
    forward = np.mean([a1.step(command)[5, 0] for _ in range(36)])
    del world.step
    assert forward > 0.4
    assert np.median(slips) < 0.25 * forward
    assert 0.8 < np.mean(standing) < 2.2


# --- what a task changes ---------------------------------------------------------------------------------------------


def test_a_payload_has_its_weight_and_its_place(a1):
    """Standing still, the feet carry all of it, and more of it on its side: forces and moment balance."""
    walk(a1, 0)
    world, kg, across = a1.worlds[0], 4.0, 0.12
    place_payload(world, kg, across)
    own = sum(world.mass_kg(link) for link in world.links if link != PAYLOAD_LINK)
    assert own == pytest.approx(12.45, abs=0.2)
    for _ in range(320):
        world.command_positions(A1.standing(), [33.5] * 12, [0.3] * 12, [1.0] * 12)
        world.step(1)
    contacts = bullet.getContactPoints(bodyA=world.body, physicsClientId=world._client)
    middle = world.base().position[1]
    force = sum(c[9] for c in contacts)
    moment = sum(c[9] * (c[5][1] - middle) for c in contacts)
    assert force == pytest.approx((own + kg) * 9.81, rel=0.03)
    assert moment == pytest.approx(kg * 9.81 * across, rel=0.25)
    place_payload(world, 0.0, 0.0)
    assert world.mass_kg(PAYLOAD_LINK) == EMPTY_KG


def limits(plant, speeds, **parameters):
    """Torque limits of the motors when all targets are ahead and the joints move at `speeds` (rad/s)."""
    walk(plant, 0, parameters)
    world, state = plant.worlds[0], plant._rows[0]
    for name, speed in zip(A1.joints, speeds, strict=True):
        bullet.resetJointState(world.body, world.joints[name].index, 0.0, speed, physicsClientId=world._client)
    state.targets = [0.1] * 12
    return np.array(plant._limits(world, state))


def test_battery_scales_torque_and_speed_and_braking_has_it_all(a1):
    still, moving, braking = np.zeros(12), np.full(12, 8.0), np.full(12, -8.0)
    for share in (1.0, 0.6):
        torque, free = share * A1.stall_torque, share * A1.free_speed
        at = {"battery_v": share * FULL_BATTERY_V}
        np.testing.assert_allclose(limits(a1, still, **at), torque)
        np.testing.assert_allclose(limits(a1, moving, **at), torque * (1.0 - 8.0 / free))
        np.testing.assert_allclose(limits(a1, braking, **at), torque)
        assert (limits(a1, np.full(12, 30.0), **at) == 0.0).all()


@pytest.mark.parametrize("leg", range(-1, 4))
def test_a_weak_leg_is_one_leg(a1, leg):
    share = limits(a1, np.zeros(12), weak_leg=float(leg)) / A1.stall_torque
    expected = np.ones(12)
    if leg >= 0:
        expected[3 * leg : 3 * leg + 3] = 0.45
        assert all(name.startswith(LEGS[leg].upper()) for name in np.array(A1.joints)[expected < 1])
    np.testing.assert_allclose(share, expected)


def test_latency_delays_commands_by_whole_physics_steps(a1):
    """At 160 Hz: 25 ms are four steps, a control period; nothing of a command shows before, something right after."""
    periods = {}
    for latency in (0.0, 0.0125, 0.025, 0.05):
        still = walk(a1, 3, {"latency_s": latency})
        moved = walk(a1, 3, {"latency_s": latency}, height_change=-0.05)
        differ = np.flatnonzero(still["height"] != moved["height"])
        periods[latency] = differ[0]
    assert periods == {0.0: 1, 0.0125: 1, 0.025: 2, 0.05: 3}
    late = walk(a1, 1, {"latency_s": 0.0125}, height_change=-0.05)
    assert late["height"][1] != walk(a1, 1, {"latency_s": 0.0}, height_change=-0.05)["height"][1]


def test_friction_is_that_between_feet_and_floor(a1):
    slow = walk(a1, 60, {"friction": 0.1}, stride_x=0.15)["forward"][1:].mean()
    fast = walk(a1, 60, {"friction": 1.0}, stride_x=0.15)["forward"][1:].mean()
    assert slow < 0.6 * fast


def test_an_episode_forgets_the_one_before(a1):
    clean = walk(a1, 20, stride_x=0.1)
    walk(a1, 20, {"payload_kg": 6.0, "payload_y_m": 0.12, "battery_v": 10.0, "weak_leg": 2.0, "friction": 0.2})
    again = walk(a1, 20, stride_x=0.1)
    for name in SENSORS:
        np.testing.assert_array_equal(again[name], clean[name])


@pytest.mark.parametrize("name", ["quadruped_dynamics", "minitaur_dynamics"])
def test_no_contact_of_the_episode_before_outlives_a_reset(families, name):
    """Bullet's restoreState alone keeps those near the start, and an episode would depend on the one before."""
    plant = families[name].plant
    walk(plant, 5)
    world = plant.worlds[0]
    assert bullet.getContactPoints(bodyA=world.body, physicsClientId=world._client)
    world.reset()
    assert not bullet.getContactPoints(bodyA=world.body, physicsClientId=world._client)


def test_the_gait_s_phase_is_sensed(a1):
    path = walk(a1, 12)
    np.testing.assert_allclose(path["phase_sin"] ** 2 + path["phase_cos"] ** 2, 1.0)
    assert path["phase_cos"][0] == 1.0
    assert path["phase_sin"][3] == pytest.approx(1.0)  # twelve control periods to a cycle
    assert path["phase_cos"][12] == pytest.approx(1.0)


# --- families --------------------------------------------------------------------------------------------------------


def thetas(family, count, seed=0):
    policy = PolicySpec(inputs=family.inputs, outputs=family.outputs, hidden=())
    return policy, np.random.default_rng(seed).normal(0, 0.2, (count, policy.dimension)).astype(F)


@pytest.mark.parametrize("name", ["quadruped_dynamics", "minitaur_dynamics", "quadruped_direction"])
def test_rows_together_are_each_alone_bit_for_bit(families, name):
    family, count = families[name], 8  # more than stand side by side
    policy, params = thetas(family, count)
    tasks, seeds = [family.sample("train", i) for i in range(count)], np.arange(count, dtype=np.uint32)
    together = family.evaluate(policy, PLAIN, params, tasks, seeds)
    assert len(set(together.returns.tolist())) == count
    for i in (7, 3, 0):
        alone = family.evaluate(policy, PLAIN, params[i : i + 1], [tasks[i]], seeds[i : i + 1])
        assert alone.returns[0] == together.returns[i]
        assert alone.steps[0] == together.steps[i]


def test_the_return_is_the_way_gone_over_time_less_half_the_drift(families):
    family = families["quadruped_dynamics"]
    policy, params = thetas(family, 1)
    params[:] = 0.0
    params[0, -12] = 0.6  # the bias of stride_x
    outcome = family.evaluate(policy, PLAIN, params, [task(friction=0.8)], np.zeros(1, np.uint32))
    assert outcome.steps[0] == 100
    x, y, _ = family.plant.worlds[0].base().position
    assert x > 0.8
    assert outcome.returns[0] <= (x - 0.5 * abs(y)) / 2.5 + 0.002
    assert outcome.returns[0] > 0.7 * x / 2.5


def test_a_fall_ends_the_episode_and_counts_as_half_a_metre_a_second_backwards(families):
    family = families["quadruped_dynamics"]
    policy, params = thetas(family, 1)
    params[:] = 0.0
    hopeless = task(payload_kg=12.0, payload_y_m=0.3, battery_v=8.0)
    outcome = family.evaluate(policy, PLAIN, params, [hopeless], np.zeros(1, np.uint32))
    assert outcome.steps[0] < 40
    assert -0.6 < outcome.returns[0] < -0.25
    assert family.spec.reward.after_abort * family.spec.episode.steps == pytest.approx(-0.5)


@pytest.mark.parametrize("name", ["quadruped_dynamics", "minitaur_dynamics"])
def test_outside_is_beyond_training(families, name):
    family = families[name]
    inside, outside = ([family.sample(s, i).parameters for i in range(64)] for s in ("train", "outside"))
    assert max(p["battery_v"] for p in outside) < min(p["battery_v"] for p in inside)
    assert min(p["payload_kg"] for p in outside) > max(p["payload_kg"] for p in inside)
    for tasks in (inside, outside):
        assert {p["weak_leg"] for p in tasks} == {0.0, 1.0, 2.0, 3.0}
    assert {p["payload_y_m"] for p in inside} == {p["payload_y_m"] for p in outside} == {-0.12, 0.12}
    assert 0.0 <= min(p["latency_s"] for p in inside) < max(p["latency_s"] for p in inside) <= 0.04


def largest_payload(family):
    return next(law.outside[1] for law in family.laws if law.name == "payload_kg")


@pytest.mark.parametrize("name", ["quadruped_dynamics", "minitaur_dynamics"])
def test_the_largest_payload_is_half_the_robot(families, name):
    plant = families[name].plant
    walk(plant, 0)
    (world, *_) = plant.worlds
    client = {"physicsClientId": world._client}
    mass = sum(bullet.getDynamicsInfo(world.body, link, **client)[0] for link in world.links.values())
    assert largest_payload(families[name]) == pytest.approx(mass / 2, rel=0.02)


@pytest.mark.parametrize("side", [-0.12, 0.12])
def test_a_sound_minitaur_walks_with_the_largest_payload(families, minitaur, side):
    loaded = {"payload_kg": largest_payload(families["minitaur_dynamics"]), "payload_y_m": side, "latency_s": 0.02}
    path = walk(minitaur, 100, loaded, stride_x=0.1)
    assert path["height"].min() > 0.18
    assert np.abs(path["roll"]).max() < 0.4
    gone, usual = (p["forward"].sum() / 40 for p in (path, walk(minitaur, 100, {"latency_s": 0.02}, stride_x=0.1)))
    assert 0.25 < gone < 0.4
    assert gone / usual == pytest.approx(1 / 3, abs=0.1)


def test_a_body_told_strides_alone_walks_as_one_whose_feet_stay_where_they_are(families):
    stride = {"stride_x": 0.1, "stride_y": -0.05, "turn": 0.2}
    told = families["quadruped_direction"].plant
    assert [a.name for a in told.spec.actuators] == list(stride)
    plants = told, families["quadruped_dynamics"].plant
    ours, whole = (walk(plant, 60, {"heading": 0.0}, **stride) for plant in plants)
    assert ours["forward"][-20:].mean() > 0.3
    for name in SENSORS[:-1]:
        assert ours[name].tolist() == whole[name].tolist(), name


def test_headings_come_in_turn_and_no_two_splits_share_a_task(families):
    family = families["quadruped_direction"]
    seen = {}
    for split in ("train", "validation", "test"):
        tasks = [family.sample(split, i).parameters for i in range(10)]
        assert [t["heading"] for t in tasks] == [0.0, 1.0, 2.0, 3.0, 4.0] * 2
        seen[split] = {t["friction"] for t in tasks}
    assert not seen["train"] & seen["validation"] | seen["train"] & seen["test"] | seen["validation"] & seen["test"]


@pytest.mark.parametrize("heading", range(5))
def test_a_heading_pays_for_itself_and_for_no_other(heading):
    moves = {0: (0.5, 0.0, 0.0), 1: (-0.5, 0.0, 0.0), 2: (0.0, 0.5, 0.0), 3: (0.0, -0.5, 0.0), TURN: (0.0, 0.0, 2.0)}
    hidden = Task("quadruped_direction", {"heading": float(heading)})
    merit = {move: QuadrupedDirection.merit(hidden, *velocities) for move, velocities in moves.items()}
    assert merit.pop(heading) == pytest.approx(2.0 * TURN_ARM_M if heading == TURN else 0.5)
    assert all(value <= 0.0 for value in merit.values())


def test_drift_costs_half_whichever_side():
    assert QuadrupedDynamics.merit(task(), 0.6, 0.2, 1.0) == pytest.approx(0.5)
    assert QuadrupedDynamics.merit(task(), 0.6, -0.2, 1.0) == pytest.approx(0.5)


@pytest.mark.parametrize("name", BODIES)
def test_a_robot_of_other_commands_is_refused(name, families):
    other = load_robot("minitaur" if name.startswith("a1") else "a1")
    physics = families["quadruped_dynamics"].options.physics
    with pytest.raises(ConfigError, match="the simulated body has actuators stride_x"):
        QuadrupedPlant(other, physics, BODIES[name], lambda task, forward, lateral, turn: 0.0)


def test_a_heading_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"task key 'heading' is 9; known: 0, 1, 2, 3, 4\."):
        QuadrupedDirection.merit(Task("quadruped_direction", {"heading": 9.0}), 0.0, 0.0, 0.0)
