"""Export of a policy: ONNX, C, firmware image."""

#: How the command line tells this package from a foreign top-level package of the same name.
__esmaml_robot__ = True
