"""A world with one articulated robot and a floor: the bodies that walk, push and fall.

Contacts make robots of one world influence one another, and a world with many is no faster per robot, so each robot
has a world of its own. Calls into PyBullet take whole arrays of joints. A control period is one command, n steps and
one read-out.

A trap of Bullet: `restoreState` restores neither motor targets nor masses, frictions and other dynamics. So after
`reset` the caller sends a command, or `release`, before the first step, and makes a task's changes at each reset;
sim/articulated.py sees to both.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from esmaml_robot.errors import ConfigError

from .camera import Camera, Point, View
from .engine import PhysicsSettings, bullet

F64 = npt.NDArray[np.float64]

_REVOLUTE, _PRISMATIC = 0, 1
#: m; nothing else is there
_AWAY = (0.0, 0.0, 1000.0)
_WHITE, _ORANGE = (1.0, 1.0, 1.0, 1.0), (0.93, 0.50, 0.16, 1.0)


@dataclass(frozen=True)
class Pin:
    """A ball joint that a URDF, a tree, cannot have: it closes a chain of links.

    Attributes:
        links: the two links that it holds together.
        points: where, in the frame of each, m.
    """

    links: tuple[str, str]
    points: tuple[tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class RobotModel:
    """Where a robot comes from and how it stands at the start.

    Attributes:
        file: a URDF or MJCF (.xml) file; "pybullet_data:a1/a1.urdf" is one that ships with PyBullet.
        position: of the base at the start, m.
        orientation: of the base at the start, quaternion x, y, z, w.
        joints: start positions of joints by name, rad or m; the others start at 0.
        fixed_base: the base is part of the world.
        floor: a plane at z = 0 with this lateral friction; None for no floor.
        pins: of closed chains; `joints` must put their links there at the start.
        rewrite: makes the text of the URDF to load, of the path of `file`; None to load the file itself.
    """

    file: str
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    joints: Mapping[str, float] = field(default_factory=dict)
    fixed_base: bool = False
    floor: float | None = 1.0
    pins: tuple[Pin, ...] = ()
    rewrite: Callable[[Path], str] | None = None

    @property
    def path(self) -> Path:
        prefix, colon, rest = self.file.partition(":")
        if colon and prefix == "pybullet_data":
            return Path(str(resources.files("pybullet_data"))) / rest
        return Path(self.file)


@dataclass(frozen=True)
class Joint:
    """A movable joint: its number in Bullet, and what the model file says of it (rad, N m, rad/s; m, N, m/s)."""

    name: str
    index: int
    low: float
    high: float
    max_force: float
    max_velocity: float
    link: str


class Pose(NamedTuple):
    """Of the base: position (3,) m, orientation quaternion x, y, z, w."""

    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]


class JointState(NamedTuple):
    """As Bullet returns it: rad and rad/s, or m and m/s; then forces that are measured where they were asked for."""

    position: float
    velocity: float
    reaction: tuple[float, ...]
    applied: float


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Bullet's loaders print to the process's standard output, which belongs to the program that runs us."""
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class RobotWorld:
    """One robot, driven by position or torque commands to its movable joints.

    Args:
        visual: load the model's shapes for pictures too; they cost memory (32 MB for an A1) and time to load, and
            change nothing else.

    Attributes:
        joints: movable joints by name, in the order of the model.
        links: Bullet's number of each link by name; the base is -1.
        base_name: name of the base link.

    Raises ConfigError when the file is missing or Bullet cannot read it.
    """

    def __init__(self, model: RobotModel, physics: PhysicsSettings, physics_rate_hz: int, visual: bool = False) -> None:
        self.model, self.period_s, self._visual = model, 1.0 / physics_rate_hz, visual
        self._client: int = bullet.connect(bullet.DIRECT)
        client = {"physicsClientId": self._client}
        bullet.setTimeStep(self.period_s, **client)
        bullet.setGravity(0.0, 0.0, -9.81, **client)
        bullet.setPhysicsEngineParameter(
            numSolverIterations=physics.solver_iterations,
            enableConeFriction=int(physics.cone_friction),
            deterministicOverlappingPairs=1,
            **client,
        )
        self.floor: int | None = None
        if model.floor is not None:
            plane = bullet.createCollisionShape(bullet.GEOM_PLANE, **client)
            # a plane shows itself unless it is given another shape; pictures have a floor of their own
            dot = bullet.createVisualShape(bullet.GEOM_SPHERE, radius=1e-6, **client) if visual else -1
            self.floor = bullet.createMultiBody(0.0, plane, dot, **client)
            bullet.changeDynamics(self.floor, -1, lateralFriction=model.floor, **client)
        self.body = self._load(model, physics)
        self.base_name, self.joints, self.links = self._describe()
        # Bullet brakes every joint with a velocity motor from the start: off, the robot's own class says what acts
        everything = [j.index for j in self.joints.values()]
        bullet.setJointMotorControlArray(
            self.body, everything, bullet.VELOCITY_CONTROL, forces=[0.0] * len(everything), **client
        )
        for name, value in model.joints.items():
            if name not in self.joints:
                raise ConfigError(f"{model.file}: no movable joint {name!r}; there are: {', '.join(self.joints)}")
            bullet.resetJointState(self.body, self.joints[name].index, value, **client)
        for pin in model.pins:
            self._pin(pin)
        if visual:
            self._dress()
        self._start: int = bullet.saveState(**client)
        self._driven: list[int] = []
        self._read: list[int] = []

    def _load(self, model: RobotModel, physics: PhysicsSettings) -> int:
        path = model.path
        if not path.is_file():
            raise ConfigError(f"there is no robot model {path}; name a URDF or MJCF file.")
        client = {"physicsClientId": self._client}
        flags = 0 if self._visual else bullet.URDF_IGNORE_VISUAL_SHAPES
        if physics.self_collision:
            flags |= bullet.URDF_USE_SELF_COLLISION | bullet.URDF_USE_SELF_COLLISION_EXCLUDE_PARENT
        try:
            with _silent(), tempfile.TemporaryDirectory() as folder:
                if model.rewrite is not None:
                    changed = Path(folder) / path.name
                    changed.write_text(model.rewrite(path), encoding="utf-8")
                    path = changed
                if path.suffix == ".xml":
                    body: int = bullet.loadMJCF(str(path), flags=flags, **client)[-1]
                    if any(model.position):
                        bullet.resetBasePositionAndOrientation(body, model.position, model.orientation, **client)
                    return body
                if physics.merge_fixed_links:
                    flags |= bullet.URDF_MERGE_FIXED_LINKS
                loaded: int = bullet.loadURDF(
                    str(path),
                    model.position,
                    model.orientation,
                    useFixedBase=model.fixed_base,
                    flags=flags | bullet.URDF_USE_INERTIA_FROM_FILE,
                    **client,
                )
                return loaded
        except bullet.error as error:
            raise ConfigError(f"{model.path}: Bullet cannot read this robot model ({error}).") from error

    def _dress(self) -> None:
        """A colour for shapes that have none, as those of most MJCF files."""
        client = {"physicsClientId": self._client}
        for _, link, kind, _, _, _, _, colour in bullet.getVisualShapeData(self.body, **client):
            if kind != bullet.GEOM_MESH and colour == _WHITE:
                bullet.changeVisualShape(self.body, link, rgbaColor=_ORANGE, **client)

    def _describe(self) -> tuple[str, dict[str, Joint], dict[str, int]]:
        joints: dict[str, Joint] = {}
        base = bullet.getBodyInfo(self.body, physicsClientId=self._client)[0].decode()
        links = {base: -1}
        for index in range(bullet.getNumJoints(self.body, physicsClientId=self._client)):
            info = bullet.getJointInfo(self.body, index, physicsClientId=self._client)
            name, kind, link = info[1].decode(), info[2], info[12].decode()
            links[link] = index
            if kind in (_REVOLUTE, _PRISMATIC):
                low, high, max_force, max_velocity = info[8:12]
                joints[name] = Joint(name, index, low, high, max_force, max_velocity, link)
        return base, joints, links

    def _pin(self, pin: Pin) -> None:
        client = {"physicsClientId": self._client}
        first, second = (self.links[name] for name in pin.links)
        points = []
        for link, point in zip((first, second), pin.points, strict=True):
            middle = bullet.getDynamicsInfo(self.body, link, **client)[3]  # Bullet measures from the centre of mass
            points.append([p - m for p, m in zip(point, middle, strict=True)])
        bullet.createConstraint(
            self.body, first, self.body, second, bullet.JOINT_POINT2POINT, [0, 0, 0], *points, **client
        )

    def choose(self, driven: Sequence[str], read: Sequence[str]) -> None:
        """Which joints `command_*` drive and `read_joints` reads, in that order."""
        unknown = sorted({*driven, *read} - set(self.joints))
        if unknown:
            raise ConfigError(
                f"{self.model.file}: no movable joint {unknown[0]!r}; there are: {', '.join(self.joints)}"
            )
        self._driven = [self.joints[n].index for n in driven]
        self._read = [self.joints[n].index for n in read]

    def reset(self) -> None:
        """As it was when new: poses, velocities, contacts. Motor targets and dynamics stay: see the module's text."""
        # restoreState keeps contact points of before that are near those of now; away from everything there are none
        bullet.resetBasePositionAndOrientation(self.body, _AWAY, (0.0, 0.0, 0.0, 1.0), physicsClientId=self._client)
        bullet.performCollisionDetection(physicsClientId=self._client)
        bullet.restoreState(self._start, physicsClientId=self._client)

    def place_joints(self, positions: Mapping[str, float]) -> None:
        """Joints by name to positions (rad, m), at rest."""
        for name, value in positions.items():
            bullet.resetJointState(self.body, self.joints[name].index, value, 0.0, physicsClientId=self._client)

    def place_base(self, position: Sequence[float], orientation: Sequence[float]) -> None:
        """The base to a position (m) and a quaternion x, y, z, w, at rest."""
        bullet.resetBasePositionAndOrientation(self.body, position, orientation, physicsClientId=self._client)
        bullet.resetBaseVelocity(self.body, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), physicsClientId=self._client)

    def command_positions(
        self, targets: list[float], forces: list[float], position_gains: list[float], velocity_gains: list[float]
    ) -> None:
        """Position servos on the driven joints: targets (rad), force limits (N m), Bullet's unitless gains."""
        bullet.setJointMotorControlArray(
            self.body,
            self._driven,
            bullet.POSITION_CONTROL,
            targetPositions=targets,
            forces=forces,
            positionGains=position_gains,
            velocityGains=velocity_gains,
            physicsClientId=self._client,
        )

    def command_torques(self, torques: list[float]) -> None:
        """Torques (N m) or forces (N) on the driven joints; they act in the next step only."""
        bullet.setJointMotorControlArray(
            self.body, self._driven, bullet.TORQUE_CONTROL, forces=torques, physicsClientId=self._client
        )

    def hold_joint(self, name: str, position: float, force: float) -> None:
        """Lock a joint that is not driven at a position (rad, m), with at most a force (N m, N)."""
        bullet.setJointMotorControl2(
            self.body,
            self.joints[name].index,
            bullet.POSITION_CONTROL,
            targetPosition=position,
            force=force,
            physicsClientId=self._client,
        )

    def release(self) -> None:
        """No motor acts on the driven joints."""
        off = [0.0] * len(self._driven)
        bullet.setJointMotorControlArray(
            self.body, self._driven, bullet.VELOCITY_CONTROL, forces=off, physicsClientId=self._client
        )

    def step(self, count: int) -> None:
        """`count` physics steps."""
        for _ in range(count):
            bullet.stepSimulation(physicsClientId=self._client)

    def read_joints(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Positions and velocities of the joints chosen to be read."""
        positions, velocities, _, _ = zip(*self.joint_states(), strict=True)
        return positions, velocities

    def driven_states(self) -> Sequence[JointState]:
        """Of the joints chosen to be driven, in their order."""
        states: Sequence[JointState] = bullet.getJointStates(self.body, self._driven, physicsClientId=self._client)
        return states

    def joint_states(self) -> Sequence[JointState]:
        """What `read_joints` reads, joint by joint and as Bullet gives it: plain tuples, for loops that are hot."""
        states: Sequence[JointState] = bullet.getJointStates(self.body, self._read, physicsClientId=self._client)
        return states

    def base(self) -> Pose:
        """Pose of the base link's centre of mass."""
        return Pose(*bullet.getBasePositionAndOrientation(self.body, physicsClientId=self._client))

    def base_velocity(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Linear (m/s) and angular (rad/s) velocity of the base link's centre of mass."""
        linear, angular = bullet.getBaseVelocity(self.body, physicsClientId=self._client)
        return linear, angular

    def bounds(self) -> tuple[Point, float]:
        """Centre (m) of the box around all links, and half its diagonal (m)."""
        client = {"physicsClientId": self._client}
        links = range(bullet.getNumJoints(self.body, **client))
        boxes = np.array([bullet.getAABB(self.body, link, **client) for link in (-1, *links)])
        # their sizes are right, their places are those of the last step
        states = (bullet.getLinkState(self.body, link, computeForwardKinematics=1, **client) for link in links)
        places = np.array([self.base().position, *(state[0] for state in states)])
        halves = (boxes[:, 1] - boxes[:, 0]) / 2
        solid = (halves > 0.0).all(axis=1)  # a link that cannot touch anything is a point
        if solid.any():
            places, halves = places[solid], halves[solid]
        low, high = (places - halves).min(axis=0), (places + halves).max(axis=0)
        x, y, z = ((low + high) / 2).tolist()
        return (x, y, z), float(np.linalg.norm(high - low) / 2)

    def camera(self, view: View, size: tuple[int, int]) -> Camera:
        """A camera in this world; the world must be `visual`."""
        return Camera(self._client, view, size, None if self.floor is None else 0.0)

    def _link(self, name: str) -> int:
        if name not in self.links:
            raise ConfigError(f"{self.model.file}: no link {name!r}; there are: {', '.join(self.links)}")
        return self.links[name]

    def mass_kg(self, link: str) -> float:
        mass: float = bullet.getDynamicsInfo(self.body, self._link(link), physicsClientId=self._client)[0]
        return mass

    def change_dynamics(self, link: str, **values: float | Sequence[float]) -> None:
        """`pybullet.changeDynamics` of one link by name (mass, lateralFriction, localInertiaDiagonal, ...)."""
        bullet.changeDynamics(self.body, self._link(link), physicsClientId=self._client, **values)

    def close(self) -> None:
        with contextlib.suppress(bullet.error):
            bullet.disconnect(physicsClientId=self._client)
