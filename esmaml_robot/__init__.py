"""esmaml-robot: meta-train a small policy in simulation, adapt it on the robot, flash it to a microcontroller."""

__version__ = "0.1.0"
