"""`python -m sim.virtual_robot`: a virtual robot as its own process; see server.py for the options."""

from __future__ import annotations

import sys

from .plants import make_plant
from .server import run_server

if __name__ == "__main__":
    sys.exit(run_server(make_plant))
