"""`esmaml verify`: an export whose files or test vectors are not what they were is refused."""

import hashlib
import json
import re

import numpy as np
import pytest

from esmaml_robot.errors import ExportError, SpecMismatch
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.export import MANIFEST_FILE, export_policy
from firmware_export.replay import firmware_with, load_export, replay_on_host

SPEC = load_robot("rover_uno")


@pytest.fixture
def folder(tmp_path):
    layout = PolicySpec(inputs=2, outputs=2)
    theta = np.linspace(-0.5, 0.5, layout.dimension, dtype=np.float32)
    policy = Policy(layout, theta, Normaliser.identity(2))
    return export_policy(policy, SPEC, tmp_path / "export", formats=("c",), samples=10).folder


def rewrite(folder, change):
    """policy.c changed, and the manifest made to believe it."""
    source, manifest = folder / "policy.c", folder / MANIFEST_FILE
    before = source.read_text()
    source.write_text(change(before))
    assert source.read_text() != before
    values = json.loads(manifest.read_text())
    values["files"]["policy.c"]["sha256"] = hashlib.sha256(source.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(values))


def test_the_vectors_are_replayed(folder):
    export = load_export(folder)
    assert export.robot == "rover_uno"
    assert 0.0 <= replay_on_host(export) <= export.tolerance


def test_a_policy_that_misses_its_vectors_is_refused(folder):
    rewrite(folder, lambda text: re.sub(r"0x1\.8p-\d+f|(?<=[ -])0x1p-1f", "0x1.2p-1f", text))
    with pytest.raises(ExportError, match=r"policy_selftest\(\) of .* fails"):
        replay_on_host(load_export(folder))


def test_another_policy_than_the_manifest_names_is_refused(folder):
    manifest = folder / MANIFEST_FILE
    manifest.write_text(manifest.read_text().replace(load_export(folder).expected.policy_hash, "0123456789abcdef"))
    with pytest.raises(SpecMismatch, match=r"policy_hash differs: export\.json has 0123456789abcdef"):
        replay_on_host(load_export(folder))


def test_another_robot_than_the_export_was_made_for_is_refused(folder, tmp_path):
    with pytest.raises(SpecMismatch, match=r"made for rover_uno.*robot cartpole"):
        firmware_with(load_export(folder), load_robot("cartpole"), "host", tmp_path)


def test_a_file_that_was_changed_or_is_gone_is_named(folder):
    header = folder / "policy.h"
    header.write_text(header.read_text() + "\n")
    with pytest.raises(ExportError, match=r"policy\.h is not the file that export\.json describes"):
        load_export(folder)
    header.unlink()
    with pytest.raises(ExportError, match=r"policy\.h cannot be read"):
        load_export(folder)
    (folder / MANIFEST_FILE).write_text("{")
    with pytest.raises(ExportError, match="cannot be read or is damaged"):
        load_export(folder)
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(ExportError, match=r"holds no export\.json"):
        load_export(folder)
