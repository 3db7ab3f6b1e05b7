"""Figures of exporters that this command does not run: measured once, by hand, on nets of the same shapes.

Same compiler (arm-none-eabi-gcc 12.2.1 -O2, avr-gcc 5.4.0 -Os) and emulators; weights were others, trained ones.
RLtools is C++17 and needs its own source tree, onnx2c builds from source with protobuf; neither is on PyPI.
"""

from __future__ import annotations

#: (system, version, net) -> instructions on the Cortex-M4F, cycles on the ATmega328P (or what happened), largest error.
PUBLISHED: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("RLtools, generic", "9acdf5c8 (2026-02-08)", "lin28x8", "1339", "needs C++17", "3.6e-07"),
    ("RLtools, generic", "9acdf5c8 (2026-02-08)", "mlp8_32_4", "5283", "needs C++17", "3.6e-07"),
    ("RLtools, generic", "9acdf5c8 (2026-02-08)", "mlp17_64_64_6", "44961", "needs C++17", "4.2e-07"),
    ("RLtools, arm::OPT", "9acdf5c8 (2026-02-08)", "lin28x8", "1123", "needs C++17", "0"),
    ("RLtools, arm::OPT", "9acdf5c8 (2026-02-08)", "mlp8_32_4", "4967", "needs C++17", "3.0e-07"),
    ("RLtools, arm::OPT", "9acdf5c8 (2026-02-08)", "mlp17_64_64_6", "35310", "needs C++17", "3.6e-07"),
    ("onnx2c", "ea045cc (2026-04-15)", "lin28x8", "1647", "63630", "0"),
    ("onnx2c", "ea045cc (2026-04-15)", "mlp8_32_4", "6197", "crashed: 42 bytes left for the stack", "3.0e-07"),
    ("onnx2c", "ea045cc (2026-04-15)", "mlp17_64_64_6", "47372", "does not fit into the chip", "3.6e-07"),
)
