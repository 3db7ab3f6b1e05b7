"""Simulation in PyBullet: bodies, task families, and a virtual robot to plug a controller into."""

#: How the command line tells this package from a foreign top-level package of the same name.
__esmaml_robot__ = True
