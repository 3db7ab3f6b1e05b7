"""docs/inference.md out of docs/results/inference.json."""

from __future__ import annotations

from typing import Any

from .nets import SHAPES
from .published import PUBLISHED

TITLE = """# One inference: size and speed

Rendered by `python -m benchmarks.inference`; the same figures as JSON are in `docs/results/inference.json`. Three nets:
`lin28x8`, one linear layer (224 products); `mlp8_32_4`, one hidden layer of 32 tanh (384 products); `mlp17_64_64_6`,
two of 64 tanh (5568 products). Weights are a function of a seed.

- **esmaml-float32** is what `esmaml export model.onnx` writes, weights frozen ([networks.md](networks.md));
  **esmaml-policy.c** what the firmware runs, its parameters an argument that can be exchanged, outputs clipped to
  [-1, 1] ([policies.md](policies.md)). Both are compiled with `-std=c99 -ffp-contract=off` and give the bits of numpy;
  the others with the compiler's defaults, which let it fuse products and sums.
- **esmaml-int16**, **esmaml-int8** are what `--formats c-int16,c-int8` writes ([fixed_point.md](fixed_point.md)):
  counts of 16 bits in and out, weights of 16 or 8 bits, with the kernel of the chip (SMLAD; assembler on the AVR);
  *plain C* is the same file with `-DFIXED_PLAIN`. Their error has the rounding of inputs and outputs to counts in it.
- **instructions**: retired on a Cortex-M4F, exact, counted by QEMU (`-icount`); fewest and most over {vectors} vectors.
  They are not cycles: flash wait states and dependent operations come on top, and differ from chip to chip.
- **cycles**: of an ATmega328P, exact, counted by simavr.
- **flash**, **RAM**: bytes that the linked image has more than one with an empty inference: code, constants and library
  functions; data and bss. **stack**: deepest, during an inference.
- **error**: largest difference from the float64 result.

{versions}.
"""

PEERS = """## Exporters that the command does not run

Measured once on nets of the same shapes, with the same compilers and emulators and other weights.

| net | system | version | instructions, Cortex-M4F | cycles, ATmega328P | error |
| --- | --- | --- | ---: | ---: | ---: |
{rows}
"""


def _counts(row: dict[str, Any]) -> str:
    least, most = f"{row['least']:,}", f"{row['most']:,}"
    return least if least == most else f"{least} .. {most}"


def _rows(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['net']} | {row['system']} | {row['failed']} | | | | |")
        else:
            lines.append(
                f"| {row['net']} | {row['system']} | {_counts(row)} | {row['flash']:,} | {row['ram']:,} "
                f"| {row['stack']:,} | {row['max_error']:.1e} |"
            )
    return "\n".join(lines)


def render(results: dict[str, Any]) -> str:
    """The page as text."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    parts = [TITLE.format(vectors=results["vectors"], versions=versions[0].upper() + versions[1:])]
    for name, target in results["targets"].items():
        rows = sorted((r for r in results["rows"] if r["target"] == name), key=lambda r: list(SHAPES).index(r["net"]))
        parts.append(
            f"## {target['title']}\n\n| net | system | {target['unit']} | flash | RAM | stack | error |\n"
            f"| --- | --- | ---: | ---: | ---: | ---: | ---: |\n{_rows(rows)}\n"
        )
    peers = "\n".join(
        f"| {net} | {system} | {version} | {arm} | {avr} | {error} |"
        for system, version, net, arm, avr, error in sorted(PUBLISHED, key=lambda r: list(SHAPES).index(r[2]))
    )
    parts.append(PEERS.format(rows=peers))
    return "\n".join(parts)
