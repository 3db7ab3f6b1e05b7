"""Size and speed of one inference on a Cortex-M4F and an ATmega328P, ours beside other exporters (see __main__.py)."""
