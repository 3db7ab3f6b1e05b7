"""The one file that imports pybullet: worlds of many copies of a small robot in a single multibody.

A call into PyBullet costs more than a step of a cheap body, so N collision-free copies are the branches of one
multibody with a fixed base: one command call, one step and one read-out serve them all. The branches do not touch
one another; a branch moves with the same bits alone and among 31 others (tests/unit/test_world.py).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


def _import_quietly() -> Any:
    """Import pybullet without the build-time line that it writes to standard error."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        return importlib.import_module("pybullet")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


bullet = _import_quietly()

F64 = npt.NDArray[np.float64]

#: Bullet refuses multibodies of 128 joints; 32 branches of two joints are the measured optimum.
MAX_BRANCHES = 32


@dataclass(frozen=True)
class Link:
    """One link of a branch: a joint along or about `axis` and the mass it carries.

    Attributes:
        name: link name without the branch number.
        joint: "prismatic" or "revolute".
        axis: unit vector in the parent's frame.
        mass_kg: mass of the link itself.
        inertia_kgm2: principal moment, the same about all axes.
    """

    name: str
    joint: str
    axis: tuple[float, float, float]
    mass_kg: float
    inertia_kgm2: float


def _urdf(links: Sequence[Link], branches: int) -> str:
    def inertial(mass: float, inertia: float) -> str:
        moments = f'ixx="{inertia!r}" iyy="{inertia!r}" izz="{inertia!r}" ixy="0" ixz="0" iyz="0"'
        return f'<inertial><mass value="{mass!r}"/><inertia {moments}/></inertial>'

    parts = [f'<robot name="branches"><link name="base">{inertial(1.0, 1.0)}</link>']
    for branch in range(branches):
        parent = "base"
        for link in links:
            child = f"{link.name}_{branch}"
            axis = " ".join(repr(a) for a in link.axis)
            parts.append(f'<link name="{child}">{inertial(link.mass_kg, link.inertia_kgm2)}</link>')
            parts.append(
                f'<joint name="{child}" type="{link.joint}"><parent link="{parent}"/><child link="{child}"/>'
                f'<axis xyz="{axis}"/><limit lower="1" upper="-1" effort="1e6" velocity="1e6"/></joint>'
            )
            parent = child
    return "\n".join([*parts, "</robot>"])  # Bullet's XML reader refuses very long lines


class BranchedWorld:
    """N copies of a branch of joints, driven by joint forces.

    Joint arrays have shape (joints of a branch, N): row j holds joint j of every copy.

    Args:
        links: the links of one branch, from the base outward.
        branches: N, 1 to 32.
        physics_rate_hz: steps per second.
    """

    def __init__(self, links: Sequence[Link], branches: int, physics_rate_hz: int) -> None:
        if not 1 <= branches <= MAX_BRANCHES:
            raise ValueError(f"branches is {branches}; one multibody holds 1 to {MAX_BRANCHES}")
        self.branches, self.joints = branches, len(links)
        self.period_s = 1.0 / physics_rate_hz
        self._client: int = bullet.connect(bullet.DIRECT)
        client = {"physicsClientId": self._client}
        bullet.setTimeStep(self.period_s, **client)
        bullet.setGravity(0.0, 0.0, 0.0, **client)
        handle, path = tempfile.mkstemp(suffix=".urdf", prefix="esmaml_")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(_urdf(links, branches))
            flags = bullet.URDF_USE_INERTIA_FROM_FILE
            self._body: int = bullet.loadURDF(path, useFixedBase=True, flags=flags, **client)
        finally:
            os.unlink(path)
        self._all = list(range(self.joints * branches))
        # no hidden friction: the robot's own class says what acts on it
        bullet.setJointMotorControlArray(
            self._body, self._all, bullet.VELOCITY_CONTROL, forces=[0.0] * len(self._all), **client
        )
        for joint in [-1, *self._all]:
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

    def step(self, forces: F64) -> None:
        """One physics step under joint forces (joints, N) in N or N m."""
        bullet.setJointMotorControlArray(
            self._body,
            self._all,
            bullet.TORQUE_CONTROL,
            forces=forces.T.ravel().tolist(),
            physicsClientId=self._client,
        )
        bullet.stepSimulation(physicsClientId=self._client)

    def read(self) -> tuple[F64, F64]:
        """Joint positions and velocities, each (joints, N)."""
        states = bullet.getJointStates(self._body, self._all, physicsClientId=self._client)
        positions, velocities, _, _ = zip(*states, strict=True)  # four times faster than an array of tuples
        shape = (self.branches, self.joints)
        return np.array(positions).reshape(shape).T, np.array(velocities).reshape(shape).T

    def close(self) -> None:
        with contextlib.suppress(bullet.error):
            bullet.disconnect(physicsClientId=self._client)


class WorldPool:
    """As many branches as asked for, spread over worlds of up to 32; worlds are kept for the next call."""

    def __init__(self, links: Sequence[Link], physics_rate_hz: int) -> None:
        self._links, self._rate = tuple(links), physics_rate_hz
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
                have.append(BranchedWorld(self._links, size, self._rate))
            out.append(have[at])
            used[size] = at + 1
        return out

    def close(self) -> None:
        for worlds in self._worlds.values():
            for world in worlds:
                world.close()
        self._worlds.clear()
