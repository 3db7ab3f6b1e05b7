"""The commands behind every published figure; run as `python -m benchmarks.NAME`."""
