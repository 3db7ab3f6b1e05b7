"""What the `esmaml robot` commands print of a controller's numbers."""

from __future__ import annotations

import json

import numpy as np

from esmaml_robot.cli.robot_port import short_floats


def test_float32_prints_with_the_digits_that_it_needs():
    assert json.dumps(short_floats(np.float32([0.1, -2.5, 1 / 3, 1e-8, 0.0]))) == "[0.1, -2.5, 0.33333334, 1e-08, 0.0]"


def test_what_is_printed_comes_back_bit_for_bit():
    bits = np.random.default_rng(0).integers(0, 2**32, 20_000, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    again = np.float32(json.loads(json.dumps(short_floats(values))))
    assert again.tobytes() == values.tobytes()
