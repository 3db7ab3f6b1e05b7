"""`esmaml doctor`, and that boards, scripts/packages and pyproject.toml speak of the same tools."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from esmaml_robot.cli.doctor import EXTRAS
from esmaml_robot.errors import ExportError
from firmware_export.board_file import known_boards, load_board
from firmware_export.tools import install_command, look_for_tools

ROOT = Path(__file__).parents[2]
#: What scripts/packages installs for the checks alone.
FOR_CHECKS = {"g++", "cppcheck", "clang", "clang-tidy", "libclang-rt-dev"}
DOCTOR = [sys.executable, "-c", "from esmaml_robot.cli.main import run; run()", "doctor"]


@pytest.fixture(scope="module")
def tools():
    return look_for_tools()


def test_scripts_packages_installs_what_boards_need(tools):
    text = (ROOT / "scripts" / "packages").read_text()
    entries = re.findall(r"^ *(?:need|file) \S+ (\"[^\"]+\"|\S+)$", text, re.MULTILINE)
    installed = {package for entry in entries for package in entry.strip('"').split()}
    assert installed - FOR_CHECKS == {package for tool in tools for package in tool.package.split()}


def test_extras_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {
        extra: [re.split(r"[><=]", requirement)[0] for requirement in requirements]
        for extra, requirements in project["optional-dependencies"].items()
        if extra not in ("dev", "peers")  # for those who work on the package
    }
    assert found == {extra: [distribution] for extra, distribution in EXTRAS.items()}


def test_each_board_has_its_compiler_and_its_flasher(tools):
    for name in known_boards():
        kinds = {tool.kind for tool in tools if name in tool.boards}
        assert "compiler" in kinds
        assert ("flasher" in kinds) == (load_board(name).settings.flasher is not None)
    assert all(tool.usable for tool in tools)  # this machine has what the tests need
    assert all(re.fullmatch(r"\d+(\.\d+)+", t.version) for t in tools if t.kind in ("compiler", "flasher"))
    assert install_command(tools) == ""


def test_one_command_installs_all_that_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    gone = look_for_tools(("atmega328p", "mps2_an386"))
    missing = {tool.name for tool in gone if not tool.usable}
    assert {"avr-gcc", "avrdude", "arm-none-eabi-gcc", "qemu-system-arm"} <= missing
    assert install_command(gone).startswith("sudo apt-get install gcc-avr avr-libc ")
    with pytest.raises(ExportError, match="no board 'moon'"):
        look_for_tools(("moon",))


def test_the_command_says_so_and_ends_with_a_code_for_it(tmp_path):
    (tmp_path / "avrdude").symlink_to("/usr/bin/avrdude")
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [*DOCTOR, "--board", "atmega328p", "--json"], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 9
    shown = json.loads(done.stdout)
    usable = {tool["name"]: tool["usable"] for tool in shown["tools"]}
    assert (usable["avr-gcc"], usable["avrdude"]) == (False, True)
    assert shown["install"] == "sudo apt-get install gcc-avr avr-libc"
    assert shown["install"] in done.stderr
