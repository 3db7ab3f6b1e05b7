"""Rules of the house that a linter does not know."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest
from setuptools import find_packages

ROOT = Path(__file__).parents[2]
PACKAGES = ("esmaml_robot", "sim", "firmware_export", "hardware_configs")
MODULES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
LONGEST = 450


def test_there_are_modules_to_look_at():
    assert len(MODULES) > 30
    assert {p.relative_to(ROOT).parts[0] for p in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_has_a_docstring_and_one_idea(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    tree = ast.parse(text)
    if tree.body:  # an empty __init__.py says nothing and needs no words
        assert ast.get_docstring(tree)


def test_the_wheel_holds_our_packages_and_no_tests():
    with (ROOT / "pyproject.toml").open("rb") as file:
        find = tomllib.load(file)["tool"]["setuptools"]["packages"]["find"]
    assert "exclude" not in find
    found = find_packages(str(ROOT), include=find["include"])
    assert {p.split(".")[0] for p in found} == set(PACKAGES)
    folders = {".".join(p.parent.relative_to(ROOT).parts) for p in MODULES}
    assert set(found) == folders  # nothing is left out for want of an __init__.py
    assert not [p for p in found if "test" in p]


def test_pickle_is_nowhere():
    for path in MODULES:
        imported = [
            name.name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [*node.names, ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names
            )
        ]
        assert not {"pickle", "dill", "cloudpickle", "marshal", "shelve"} & set(imported), path
