"""PyBullet: the one room that imports it. Worlds of branches (cheap bodies) and worlds of one robot (contacts)."""

from __future__ import annotations

from .branches import MAX_BRANCHES, BranchedWorld, Branches, Link, WorldPool
from .camera import Camera, View
from .engine import PhysicsSettings, bullet
from .robot import Joint, Pin, Pose, RobotModel, RobotWorld
from .stage import Scene, Shape, Stage

__all__ = [
    "MAX_BRANCHES",
    "BranchedWorld",
    "Branches",
    "Camera",
    "Joint",
    "Link",
    "PhysicsSettings",
    "Pin",
    "Pose",
    "RobotModel",
    "RobotWorld",
    "Scene",
    "Shape",
    "Stage",
    "View",
    "WorldPool",
    "bullet",
]
