"""Branches of one multibody do not influence one another, and a world that was used before is as good as a new one."""

from __future__ import annotations

import numpy as np
import pytest

from sim.robots.rover import BODY_KG, CARRIAGE_KG, LINKS
from sim.world import MAX_BRANCHES, BranchedWorld, Link, WorldPool

RATE = 100
STEPS = 30


def forces(step, branch):
    """A force on each joint of a branch that depends on step and branch."""
    return np.array([5 * np.sin(0.3 * step + branch), 4 * np.cos(0.2 * step - 2 * branch)])


def start(branch):
    return np.array([0.3 * branch - 1, 2 - 0.1 * branch])


def push(world, forces):
    """One step under forces (joints, branches)."""
    world.step(forces.T.ravel().tolist())


def read(world):
    """Positions and velocities, each (joints, branches), out of arrays with a row more at either end."""
    rows = np.full((2, world.branches + 2, world.joints), 99.0)
    world.read(rows[0], rows[1], 1)
    assert (rows[:, [0, -1]] == 99.0).all()
    return rows[0, 1:-1].T, rows[1, 1:-1].T


def trace(world, branches):
    """Positions and velocities of the given branches, driven side by side, (steps, 2, joints, branches)."""
    idle = world.branches - len(branches)
    pad = np.zeros((2, idle))
    world.reset(np.concatenate([np.stack([start(b) for b in branches], axis=1), pad], axis=1))
    out = []
    for step in range(STEPS):
        push(world, np.concatenate([np.stack([forces(step, b) for b in branches], axis=1), pad], axis=1))
        out.append(np.stack(read(world))[:, :, : len(branches)])
    return np.stack(out)


@pytest.fixture(scope="module")
def together():
    world = BranchedWorld(LINKS, 32, RATE)
    yield trace(world, list(range(32)))
    world.close()


@pytest.mark.parametrize("size", [1, 2, 32])
def test_a_branch_has_the_same_bits_alone_and_among_31_others(together, size):
    world = BranchedWorld(LINKS, size, RATE)
    for branch in (0, 5, 31):
        np.testing.assert_array_equal(trace(world, [branch])[..., 0], together[..., branch])
    world.close()
    assert np.abs(np.diff(together[-1, 0, 0])).min() > 1e-3  # the branches really went different ways


def test_a_branch_has_the_same_bits_in_any_place(together):
    world = BranchedWorld(LINKS, 32, RATE)
    np.testing.assert_array_equal(trace(world, list(range(31, -1, -1)))[..., ::-1], together)
    world.close()


def test_a_used_world_is_as_good_as_a_new_one(together):
    world = BranchedWorld(LINKS, 32, RATE)
    world.reset(np.full((2, 32), 7.0))
    for _ in range(50):
        push(world, np.full((2, 32), 90.0))
    np.testing.assert_array_equal(trace(world, list(range(32))), together)
    np.testing.assert_array_equal(trace(world, list(range(32))), together)
    world.close()


def test_force_is_mass_times_acceleration():
    world = BranchedWorld(LINKS, 2, RATE)
    world.reset(np.zeros((2, 2)))
    wanted = np.array([[3.0, -1.0], [0.5, 2.0]])
    mass = np.array([[BODY_KG + CARRIAGE_KG], [BODY_KG]])
    for step in range(1, 21):
        push(world, wanted)
        position, velocity = read(world)
        np.testing.assert_allclose(velocity, wanted / mass * step / RATE, rtol=1e-9)
        # semi-implicit Euler: positions follow the new velocity
        np.testing.assert_allclose(position, wanted / mass * step * (step + 1) / 2 / RATE**2, rtol=1e-9)
    for _ in range(20):
        push(world, np.zeros((2, 2)))
    after = read(world)[1]
    np.testing.assert_allclose(after, velocity, rtol=1e-12)  # no hidden friction
    world.close()


def test_a_revolute_joint_turns_by_torque_over_inertia():
    world = BranchedWorld((Link("wheel", "revolute", (0.0, 0.0, 1.0), 0.5, 0.02),), 1, RATE)
    world.reset(np.zeros((1, 1)))
    for _ in range(10):
        push(world, np.full((1, 1), 0.1))
    assert read(world)[1][0, 0] == pytest.approx(0.1 / 0.02 * 10 / RATE, rel=1e-6)
    world.close()


def test_size_of_a_world():
    for branches in (0, MAX_BRANCHES + 1):
        with pytest.raises(ValueError, match=f"branches is {branches}; one multibody holds 1 to 32"):
            BranchedWorld(LINKS, branches, RATE)


def test_pool_sizes_and_reuse():
    pool = WorldPool(LINKS, RATE)
    kept = {}
    for count, sizes in [
        (1, [1]),
        (2, [2]),
        (3, [4]),
        (17, [32]),
        (32, [32]),
        (33, [32, 1]),
        (70, [32, 32, 8]),
        (96, [32, 32, 32]),
    ]:
        worlds = pool.take(count)
        assert [w.branches for w in worlds] == sizes
        assert len({id(w) for w in worlds}) == len(worlds)
        kept[count] = worlds
    assert kept[32][0] is kept[17][0] is kept[96][0]
    assert pool.take(70) == kept[70]
    pool.close()


def test_worlds_do_not_disturb_one_another(together):
    one, two = BranchedWorld(LINKS, 1, RATE), BranchedWorld(LINKS, 1, 50)
    one.reset(start(3)[:, None])
    two.reset(np.zeros((2, 1)))
    for step in range(STEPS):
        push(one, forces(step, 3)[:, None])
        push(two, np.full((2, 1), 8.0))
        np.testing.assert_array_equal(np.stack(read(one))[..., 0], together[step, ..., 3])
    two.close()
    np.testing.assert_array_equal(np.stack(read(one))[..., 0], together[-1, ..., 3])
    one.close()
