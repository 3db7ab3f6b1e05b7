"""Flashing the boards beside the Uno: the Mega through its STK500v2 boot loader, the Cortex-M4 through GDB."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess

from esmaml_robot.bridge.link import Link
from esmaml_robot.bridge.transport import open_port


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_mega_and_a_greeting_that_its_boot_loader_takes_for_an_upload(esmaml, desk, images, proven):
    image = images("atmega2560")
    with desk.board("atmega2560") as plugged:
        port = plugged["port"]
        proven(json.loads(esmaml("flash", image.folder, "--port", port, "--json").stdout), image)
        # whoever opens the port and speaks at once, as every other command does, reaches the firmware nevertheless
        with contextlib.closing(open_port(port)) as transport:
            link = Link(transport, None, None)
            assert link.probe() is None
            assert link.connect().board == "atmega2560"


def test_gdb_loads_a_cortex_m4(esmaml, desk, images, proven):
    image, number = images("mps2_an386"), free_port()
    with desk.board("mps2_an386", "--gdb-port", number) as plugged:
        port, gdb = plugged["port"], plugged["gdb"]
        assert gdb == f"127.0.0.1:{number}"
        boots = set()
        for _ in range(2):  # what runs can be replaced
            proof = json.loads(esmaml("flash", image.folder, "--port", port, "--gdb", gdb, "--json").stdout)
            proven(proof, image)
            boots.add(proof["boot_id"])
        assert len(boots) == 2
        without = esmaml("flash", image.folder, "--port", port, check=False)
        assert without.returncode == 11
        assert "is loaded through a debugger" in without.stderr
        nobody = esmaml("flash", image.folder, "--port", port, "--gdb", f"127.0.0.1:{free_port()}", check=False)
        assert nobody.returncode == 11
        assert "nothing there speaks GDB's remote protocol" in nobody.stderr
        command = [*desk.command, "emulate", "--robot", "rover_uno", "--board", "mps2_an386", "--gdb-port", str(number)]
        taken = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert taken.returncode == 6
        assert "the debugger's TCP port cannot be had" in taken.stderr
