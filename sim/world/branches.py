"""Worlds of many copies of a small, collision-free robot in a single multibody.

A call into PyBullet costs more than a step of a cheap body, so N collision-free copies are the branches of one
multibody with a fixed base: one command call, one step and one read-out serve them all. The branches do not touch
one another; a branch moves with the same bits alone and among 31 others (tests/unit/test_world.py).
"""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .engine import bullet

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

#: Bullet refuses multibodies of 128 joints; 32 branches of two joints are the measured optimum.
MAX_BRANCHES = 32


@dataclass(frozen=True)
class Link:
    """One link of a branch: a joint along or about `axis` and the mass it carries.

    Attributes:
        name: link name without the branch number.
        joint: "prismatic", "revolute" or "fixed".
        axis: unit vector in the parent's frame.
        mass_kg: mass of the link itself.
        inertia_kgm2: principal moment about the centre of mass, the same about all axes.
        centre_m: centre of mass in the link's own frame, whose origin is the joint.
        origin_m: of the joint, in the parent's frame.
    """

    name: str
    joint: str
    axis: tuple[float, float, float]
    mass_kg: float
    inertia_kgm2: float
    centre_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)


def _urdf(links: Sequence[Link], branches: int) -> str:
    def words(vector: tuple[float, float, float]) -> str:
        return " ".join(map(repr, vector))

    def inertial(mass: float, inertia: float, centre: tuple[float, float, float]) -> str:
        moments = f'ixx="{inertia!r}" iyy="{inertia!r}" izz="{inertia!r}" ixy="0" ixz="0" iyz="0"'
        return f'<inertial><origin xyz="{words(centre)}"/><mass value="{mass!r}"/><inertia {moments}/></inertial>'

    parts = [f'<robot name="branches"><link name="base">{inertial(1.0, 1.0, (0.0, 0.0, 0.0))}</link>']
    for branch in range(branches):
        parent = "base"
        for link in links:
            child = f"{link.name}_{branch}"
            body = inertial(link.mass_kg, link.inertia_kgm2, link.centre_m)
            parts.append(f'<link name="{child}">{body}</link>')
            parts.append(
                f'<joint name="{child}" type="{link.joint}"><parent link="{parent}"/><child link="{child}"/>'
                f'<origin xyz="{words(link.origin_m)}"/><axis xyz="{words(link.axis)}"/>'
                f'<limit lower="1" upper="-1" effort="1e6" velocity="1e6"/></joint>'
            )
            parent = child
    return "\n".join([*parts, "</robot>"])  # Bullet's XML reader refuses very long lines


class BranchedWorld:
    """N copies of a branch of joints, driven by joint forces.

    Bullet numbers joints branch after branch; so do forces and what is read.

    Args:
        links: the links of one branch, from the base outward.
        branches: N, 1 to 32.
        physics_rate_hz: steps per second.
        gravity_m_s2: downwards, along -z; none by default, as on a table.
    """

    def __init__(self, links: Sequence[Link], branches: int, physics_rate_hz: int, gravity_m_s2: float = 0.0) -> None:
        if not 1 <= branches <= MAX_BRANCHES:
            raise ValueError(f"branches is {branches}; one multibody holds 1 to {MAX_BRANCHES}")
        movable = [i for i, link in enumerate(links) if link.joint != "fixed"]
        self.branches, self.joints, self._links = branches, len(movable), tuple(links)
        self.period_s = 1.0 / physics_rate_hz
        self._client: int = bullet.connect(bullet.DIRECT)
        client = {"physicsClientId": self._client}
        bullet.setTimeStep(self.period_s, **client)
        bullet.setGravity(0.0, 0.0, -gravity_m_s2, **client)
        handle, path = tempfile.mkstemp(suffix=".urdf", prefix="esmaml_")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(_urdf(links, branches))
            flags = bullet.URDF_USE_INERTIA_FROM_FILE
            self._body: int = bullet.loadURDF(path, useFixedBase=True, flags=flags, **client)
        finally:
            os.unlink(path)
        self._all = [branch * len(links) + i for branch in range(branches) for i in movable]
        self._packer = struct.Struct(f"{len(self._all)}d")
        # no hidden friction: the robot's own class says what acts on it
        bullet.setJointMotorControlArray(
            self._body, self._all, bullet.VELOCITY_CONTROL, forces=[0.0] * len(self._all), **client
        )
        for joint in range(-1, len(links) * branches):
            bullet.changeDynamics(self._body, joint, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, **client)
        self._start: int = bullet.saveState(**client)

    def reset(self, positions: F64) -> None:
        """All joints at `positions` (joints, N), at rest; solver state as when the world was new."""
        bullet.restoreState(self._start, physicsClientId=self._client)
        flat = positions.T.ravel().tolist()
        bullet.resetJointStatesMultiDof(
            self._body,
            self._all,
            [[q] for q in flat],
            targetVelocities=[[0.0]] * len(flat),
            physicsClientId=self._client,
        )

    def load(self, name: str, masses_kg: Sequence[float]) -> None:
        """Give link `name` of each branch a mass of its own, its inertia in proportion. Stays over resets."""
        at = [link.name for link in self._links].index(name)
        link = self._links[at]
        for branch, mass in enumerate(masses_kg):
            moment = link.inertia_kgm2 * mass / link.mass_kg
            bullet.changeDynamics(
                self._body,
                branch * len(self._links) + at,
                mass=mass,
                localInertiaDiagonal=(moment, moment, moment),
                physicsClientId=self._client,
            )

    def step(self, forces: list[float]) -> None:
        """One physics step under joint forces in N or N m: those of the first branch, of the second, and so on."""
        bullet.setJointMotorControlArray(
            self._body, self._all, bullet.TORQUE_CONTROL, forces=forces, physicsClientId=self._client
        )
        bullet.stepSimulation(physicsClientId=self._client)

    def read(self, positions: F64, velocities: F64, first: int) -> None:
        """Joint positions and velocities into rows first .. first + N - 1 of two contiguous arrays (rows, joints)."""
        states = bullet.getJointStates(self._body, self._all, physicsClientId=self._client)
        q, v, _, _ = zip(*states, strict=True)
        # straight into the arrays' memory: no other way into numpy costs as little
        at = first * self.joints * positions.itemsize
        self._packer.pack_into(positions.data, at, *q)
        self._packer.pack_into(velocities.data, at, *v)

    def close(self) -> None:
        with contextlib.suppress(bullet.error):
            bullet.disconnect(physicsClientId=self._client)


class Branches:
    """Any number of copies of a branch, spread over worlds of up to 32, as arrays over all of them.

    Attributes after `reset`, float64 views of shape (joints of a branch, B), stored copy after copy:
        position, velocity: of the joints, at the end of the last step.
        force: in N or N m, what the next step applies; fill it in place.
    """

    def __init__(self, links: Sequence[Link], physics_rate_hz: int, gravity_m_s2: float = 0.0) -> None:
        self._pool = WorldPool(links, physics_rate_hz, gravity_m_s2)
        self._joints = sum(link.joint != "fixed" for link in links)

    def reset(self, positions: F64) -> None:
        """B copies at rest at `positions` (joints, B)."""
        count = positions.shape[1]
        worlds = self._pool.take(count)
        padded = sum(w.branches for w in worlds)
        self._positions, self._velocities, self._forces = (np.zeros((padded, self._joints)) for _ in range(3))
        self._positions[:count] = positions.T
        self.position, self.velocity, self.force = (
            a[:count].T for a in (self._positions, self._velocities, self._forces)
        )
        self._parts, self._left = [], count
        for world, first in zip(worlds, range(0, padded, MAX_BRANCHES), strict=True):
            last = first + world.branches
            world.reset(self._positions[first:last].T)
            self._parts.append((world, first, slice(first, last), slice(first * self._joints, last * self._joints)))

    def load(self, name: str, masses_kg: F64) -> None:
        """Give link `name` of each copy a mass (B,); to be called after each `reset`, for copies change places."""
        masses = masses_kg.tolist()
        for world, first, _, _ in self._parts:
            world.load(name, masses[first : first + world.branches])

    def step(self, running: Bool | None = None, count: int = 1) -> None:
        """`count` physics steps under `force`, then the read-out. A world of which no copy is `running` (B,) rests."""
        if running is not None and (left := np.count_nonzero(running)) != self._left:
            self._left = left
            self._parts = [p for p in self._parts if running[p[2]].any()]
        forces = self._forces.ravel().tolist()
        for world, first, _, joints in self._parts:
            for _ in range(count):
                world.step(forces[joints])
            world.read(self._positions, self._velocities, first)

    def close(self) -> None:
        self._pool.close()


class WorldPool:
    """As many branches as asked for, spread over worlds of up to 32; worlds are kept for the next call."""

    def __init__(self, links: Sequence[Link], physics_rate_hz: int, gravity_m_s2: float = 0.0) -> None:
        self._links, self._rate, self._gravity = tuple(links), physics_rate_hz, gravity_m_s2
        self._worlds: dict[int, list[BranchedWorld]] = {}

    def take(self, count: int) -> list[BranchedWorld]:
        """Worlds that hold `count` branches together, the last one perhaps with idle branches."""
        sizes = [MAX_BRANCHES] * (count // MAX_BRANCHES)
        rest = count % MAX_BRANCHES
        if rest:
            sizes.append(1 << (rest - 1).bit_length())
        used: dict[int, int] = {}
        out = []
        for size in sizes:
            have = self._worlds.setdefault(size, [])
            at = used.get(size, 0)
            if at == len(have):
                have.append(BranchedWorld(self._links, size, self._rate, self._gravity))
            out.append(have[at])
            used[size] = at + 1
        return out

    def close(self) -> None:
        for worlds in self._worlds.values():
            for world in worlds:
                world.close()
        self._worlds.clear()
