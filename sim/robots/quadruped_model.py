"""Legged models of pybullet_data, made ready for training: cheap contacts, and a payload on a rail.

Three changes to the URDF:

- Shapes that can touch are dropped except at the links named, the feet: a trunk on the floor is a fall, which the
  tilt and height sensors see, and a step costs little more than half as much. Contact parameters are dropped too:
  the same hard contact for all, and a friction that the task sets.
- The trunk gets a rail across its back, a prismatic joint along y, and a box on it. `place_payload` gives the box its
  mass and its place, and holds it there. Bullet can change a link's mass while running, not its centre of mass.
- Paths of meshes become absolute.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable
from pathlib import Path

from ..world import RobotWorld

PAYLOAD_LINK, PAYLOAD_JOINT = "payload", "payload_rail"
#: Half the length of the rail, m.
RAIL_M = 0.3
#: Edge of the payload's box, m.
BOX_M = 0.1
#: Bullet cannot simulate a link without mass.
EMPTY_KG = 1e-3
#: N: enough to hold any payload through any fall.
_HOLDING_FORCE = 1e4


def prepared_urdf(source: Path, trunk: str, touching: Collection[str], back: tuple[float, float]) -> str:
    """Text of the changed model; see the module's text.

    Args:
        source: the URDF.
        trunk: link that the rail sits on.
        touching: links that keep their collision shapes.
        back: x and z of the middle of the rail in the frame of the trunk, m.
    """
    robot = ET.parse(source).getroot()
    for link in robot.iter("link"):
        drop = ["contact"] if link.get("name") in touching else ["contact", "collision"]
        for part in [part for tag in drop for part in link.findall(tag)]:
            link.remove(part)
    for mesh in robot.iter("mesh"):
        mesh.set("filename", str((source.parent / mesh.get("filename", "")).resolve()))
    robot.extend(_payload(trunk, back))
    return ET.tostring(robot, encoding="unicode")


def _payload(trunk: str, back: tuple[float, float]) -> Iterable[ET.Element]:
    inertia = EMPTY_KG * BOX_M**2 / 6
    yield from ET.fromstring(f"""
      <robot>
        <link name="{PAYLOAD_LINK}">
          <visual>
            <geometry><box size="{BOX_M} {BOX_M} {BOX_M}"/></geometry>
            <material name="payload"><color rgba="0.15 0.35 0.75 1"/></material>
          </visual>
          <inertial>
            <mass value="{EMPTY_KG}"/>
            <inertia ixx="{inertia}" ixy="0" ixz="0" iyy="{inertia}" iyz="0" izz="{inertia}"/>
          </inertial>
        </link>
        <joint name="{PAYLOAD_JOINT}" type="prismatic">
          <parent link="{trunk}"/>
          <child link="{PAYLOAD_LINK}"/>
          <origin xyz="{back[0]} 0 {back[1]}" rpy="0 0 0"/>
          <axis xyz="0 1 0"/>
          <limit lower="{-RAIL_M}" upper="{RAIL_M}" effort="{_HOLDING_FORCE}" velocity="1"/>
        </joint>
      </robot>""")


def place_payload(world: RobotWorld, mass_kg: float, across_m: float) -> None:
    """Set the mass of the box and its place on the rail (m, positive to the left); after each reset."""
    mass = max(mass_kg, EMPTY_KG)
    inertia = mass * BOX_M**2 / 6
    world.change_dynamics(PAYLOAD_LINK, mass=mass, localInertiaDiagonal=(inertia, inertia, inertia))
    world.place_joints({PAYLOAD_JOINT: across_m})
    world.hold_joint(PAYLOAD_JOINT, across_m, _HOLDING_FORCE)
