"""`python -m sim.virtual_robot`: a virtual robot as its own process; see server.py for the options.

`--family NAME` and `--options JSON`, as a run has them, choose the family whose body and tasks it has.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys

from .plants import make_plant
from .server import run_server

if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--family")
    parser.add_argument("--options", type=json.loads, default={})
    chosen, rest = parser.parse_known_args()
    sys.exit(run_server(functools.partial(make_plant, family_name=chosen.family, options=chosen.options), rest))
