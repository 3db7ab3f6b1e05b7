"""A walking quadruped as a BatchedPlant: gait controller, servos on a battery, latency, payload, friction.

The robot's own controller runs the gait (quadruped_gait.py) and position servos; what the policy commands are strides
and foot offsets, and it sees the phase of the gait. What a task may change, all of it at once:

    battery_v    supply of the motors. Torque of a stalled motor and speed without load are both proportional to it;
                 between them torque falls linearly with speed (a motor with brushes, or its equal in d-q axes), and
                 braking has the stalled torque.
    payload_kg   on the trunk's back, payload_y_m to the left of its middle.
    friction     coefficient between feet and floor.
    weak_leg     number of the leg (order of LEGS) whose motors have WEAK of their torque; below 0 for none.
    latency_s    from the gait controller's target to the servos, in whole physics steps, so it may be more or less
                 than a control period.

A parameter that a task does not have is at its usual value. An episode depends on its task alone, not on its seed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from esmaml_robot.evaluation import Task
from esmaml_robot.robot_spec import RobotSpec

from ..articulated import ArticulatedPlant
from ..world import PhysicsSettings, Pin, RobotModel, RobotWorld, View
from .ant import roll_pitch_yaw
from .quadruped_gait import LEGS, Point, Stride, Trot
from .quadruped_model import place_payload, prepared_urdf

FULL_BATTERY_V = 16.8
#: Cycles of the gait per second.
GAIT_HZ = 10.0 / 3.0
WEAK = 0.45
USUAL = {"battery_v": FULL_BATTERY_V, "payload_kg": 0.0, "payload_y_m": 0.0, "friction": 0.8, "weak_leg": -1.0}
SENSORS = (
    *("phase_sin", "phase_cos", "roll", "pitch", "yaw"),
    *("forward", "lateral", "turn_rate", "height", "merit"),
)


@dataclass(frozen=True)
class QuadrupedBody:
    """A model and what its controller knows of it.

    Attributes:
        file: URDF, as in RobotModel.
        trunk: link that carries the payload.
        touching: links of the URDF that can touch the ground.
        shanks: the links that they are part of once fixed joints are merged, in the order of LEGS.
        joints: driven joints, in the order of `angles`; as many to each leg, legs in the order of LEGS.
        commands: the robot's actuators.
        read_command: their values (SI) as a stride.
        angles: joint angles (rad) that put four feet (m, trunk's frame) there, or as near as they go.
        trot: its gait.
        clearance: height of the trunk's frame above the floor that puts the toes on it, m, when it stands.
        back: x and z of the payload's middle in the trunk's frame, m.
        stall_torque: of a motor at a full battery, N m.
        free_speed: of a motor without load at a full battery, rad/s.
        servo_rate: rad/s that a servo asks for per rad of error.
        passive: angles (rad) of joints that nothing drives, when it stands.
        pins: that close the legs' chains.
    """

    file: str
    trunk: str
    touching: tuple[str, ...]
    shanks: tuple[str, ...]
    joints: tuple[str, ...]
    commands: tuple[str, ...]
    read_command: Callable[[Sequence[float]], Stride]
    angles: Callable[[Sequence[Point]], list[float]]
    trot: Trot
    clearance: float
    back: tuple[float, float]
    stall_torque: float
    free_speed: float
    servo_rate: float
    passive: Mapping[str, float] = field(default_factory=dict)
    pins: tuple[Pin, ...] = ()

    def standing(self) -> list[float]:
        """Driven joints' angles (rad) of a robot that stands on four feet."""
        return self.angles([(x, y, -self.trot.height) for x, y in self.trot.feet])


#: Task, forward and lateral velocity (m/s), turn rate (rad/s) -> the merit sensor.
Merit = Callable[[Task, float, float, float], float]


class _Row:
    """What one robot carries through an episode."""

    def __init__(self, body: QuadrupedBody, values: dict[str, float], task: Task, physics_rate_hz: int) -> None:
        share = values["battery_v"] / FULL_BATTERY_V
        joints = len(body.joints) // len(LEGS)
        self.task = task
        self.free_speed = share * body.free_speed
        weak = [WEAK if leg == int(values["weak_leg"]) else 1.0 for leg in range(len(LEGS))]
        self.torque = [share * body.stall_torque * weak[leg] for leg in range(len(LEGS)) for _ in range(joints)]
        self.delay = round(values.get("latency_s", 0.0) * physics_rate_hz)
        self.targets = body.standing()
        #: (physics step from which it holds, targets)
        self.coming: deque[tuple[int, list[float]]] = deque()
        self.step = 0
        self.phase = 0.0
        self.place = (0.0, 0.0, 0.0)


class QuadrupedPlant(ArticulatedPlant):
    """B quadrupeds; see the module's text.

    Sensors: phase_sin, phase_cos (of the gait), roll, pitch, yaw (rad), forward and lateral velocity (m/s), turn_rate
    (rad/s), height (m), and `merit`. Forward is where the trunk faced at the start, lateral to the left of it.
    Velocities and turn rate are means over the last control period.
    """

    view = View(yaw_deg=35.0, pitch_deg=-18.0, zoom=0.75)

    def __init__(self, spec: RobotSpec, physics: PhysicsSettings, body: QuadrupedBody, merit: Merit) -> None:
        standing = {**dict(zip(body.joints, body.standing(), strict=True)), **body.passive}
        model = RobotModel(
            body.file,
            position=(0.0, 0.0, body.clearance),
            joints=standing,
            floor=1.0,
            pins=body.pins,
            rewrite=partial(prepared_urdf, trunk=body.trunk, touching=body.touching, back=body.back),
        )
        super().__init__(spec, model, physics, driven=body.joints)
        self.expect(SENSORS, body.commands)
        self._body, self._merit = body, merit
        # Bullet's gain is the share of the error that a step takes away
        self._kp = [body.servo_rate / spec.physics_rate_hz] * len(body.joints)
        self._kd = [1.0] * len(body.joints)
        self._rows: dict[int, _Row] = {}

    def prepare(self, world: RobotWorld, row: int, task: Task, episode_seed: int) -> None:
        values = USUAL | dict(task.parameters)
        place_payload(world, values["payload_kg"], values["payload_y_m"])
        for link in self._body.shanks:
            world.change_dynamics(link, lateralFriction=values["friction"])
        self._rows[row] = _Row(self._body, values, task, self.spec.physics_rate_hz)

    def drive(self, world: RobotWorld, row: int, command: list[float]) -> None:
        state = self._rows[row]
        state.phase += GAIT_HZ / self.spec.control_rate_hz
        feet = self._body.trot.targets(state.phase, self._body.read_command(command))
        coming, kp, kd = state.coming, self._kp, self._kd
        coming.append((state.step + state.delay, self._body.angles(feet)))
        for _ in range(self.substeps):
            while coming and coming[0][0] <= state.step:
                state.targets = coming.popleft()[1]
            world.command_positions(state.targets, self._limits(world, state), kp, kd)
            world.step(1)
            state.step += 1

    def _limits(self, world: RobotWorld, state: _Row) -> list[float]:
        """The torque (N m) that each motor can give at its speed: less and less with the motion, all of it against."""
        free = state.free_speed
        return [  # conditions and not max(), tuples and not names: this runs for every motor in every physics step
            torque
            if (along := speed if target > position else -speed) <= 0.0
            else torque * (1.0 - along / free)
            if along < free
            else 0.0
            for torque, target, (position, speed, _, _) in zip(
                state.torque, state.targets, world.joint_states(), strict=True
            )
        ]

    def sense(self, world: RobotWorld, row: int) -> Sequence[float]:
        state = self._rows[row]
        pose = world.base()
        roll, pitch, yaw = roll_pitch_yaw(pose.orientation)
        x, y, z = pose.position
        before, state.place = state.place, (x, y, yaw)
        rate = self.spec.control_rate_hz
        forward, lateral = ((now - then) * rate for now, then in zip((x, y), before[:2], strict=True))
        turned = (yaw - before[2] + math.pi) % (2.0 * math.pi) - math.pi
        angle = 2.0 * math.pi * state.phase
        merit = self._merit(state.task, forward, lateral, turned * rate)
        return math.sin(angle), math.cos(angle), roll, pitch, yaw, forward, lateral, turned * rate, z, merit
