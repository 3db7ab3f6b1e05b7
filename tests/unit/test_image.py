"""An image in a folder: the same bytes each time, room that is counted, and a folder that says when it was changed."""

import json
import shutil

import numpy as np
import pytest

from esmaml_robot.errors import ExportError
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.image import IMAGE_FILE, build_image, load_image

SPEC = load_robot("rover_uno")
#: Bytes of stack measured on the emulated Uno (docs/boards.md): a bound below it is none.
MEASURED_STACK = 482


def policy(hidden=8, normaliser=None):
    layout = PolicySpec(inputs=2, outputs=2, hidden=(hidden,))
    theta = np.random.default_rng(0).normal(scale=0.1, size=layout.dimension).astype(np.float32)
    return Policy(layout, theta, normaliser or Normaliser.identity(2))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_image(policy(), SPEC, "atmega328p", tmp_path_factory.mktemp("image") / "uno")


def test_twice_gives_the_same_bytes(built, tmp_path):
    again = build_image(policy(), SPEC, "atmega328p", tmp_path / "elsewhere" / "deep")
    names = {p.name for p in built.folder.iterdir()}
    assert names == {"firmware.elf", "firmware.hex", "firmware.bin", "policy.safetensors", IMAGE_FILE}
    for name in names:
        assert (built.folder / name).read_bytes() == (again.folder / name).read_bytes(), name


def test_the_manifest_says_what_is_there(built):
    manifest = load_image(built.folder / "firmware.hex").manifest
    assert manifest == built.manifest
    memory = manifest.memory
    assert manifest.files["firmware.bin"].size == memory.flash
    assert MEASURED_STACK <= memory.stack <= MEASURED_STACK + 64
    assert memory.ram_free == 2048 - memory.ram - memory.stack
    assert memory.ram_free >= 0.25 * 2048
    assert built.policy().policy_hash == manifest.policy_hash


def test_another_normaliser_is_no_base(tmp_path):
    other = policy(normaliser=Normaliser(np.float32([0.5, 0.0]), np.float32([1.0, 1.0])))
    image = build_image(policy(), SPEC, "host", tmp_path, base=other)
    assert image.manifest.same_normaliser == (policy().policy_hash,)
    assert image.manifest.memory.ram_free is None


def test_what_does_not_fit_is_refused_with_the_number_of_bytes(built, tmp_path):
    before = {p.name: p.read_bytes() for p in built.folder.iterdir()}
    with pytest.raises(ExportError, match=r"takes \d+ bytes of RAM(, \d+ more| and up to \d+ of stack, \d+ more)"):
        build_image(policy(hidden=32), SPEC, "atmega328p", built.folder)
    assert {p.name: p.read_bytes() for p in built.folder.iterdir()} == before


def _changed(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("firmware.hex", lambda data: data.replace(b"0", b"1", 1), "firmware.hex is not the file that firmware.json"),
        ("policy.safetensors", lambda data: data[:-1], "policy.safetensors is not the file"),
        (IMAGE_FILE, lambda data: data[:40], "firmware.json is damaged or of another version"),
        (IMAGE_FILE, lambda data: data.replace(b'"format": 1', b'"format": 2'), "of another version: format"),
    ],
)
def test_a_changed_folder_is_no_image(built, tmp_path, name, change, words):
    folder = tmp_path / "copy"
    shutil.copytree(built.folder, folder)
    load_image(folder)
    _changed(folder, name, change)
    with pytest.raises(ExportError) as caught:
        load_image(folder)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_image_is_said(built, tmp_path):
    with pytest.raises(ExportError, match="there is no image"):
        load_image(tmp_path / "nothing")
    with pytest.raises(ExportError, match=r"holds no firmware\.json"):
        load_image(tmp_path)
    folder = tmp_path / "copy"
    shutil.copytree(built.folder, folder)
    (folder / "strange.hex").write_text(":00000001FF\n")
    with pytest.raises(ExportError, match=r"strange\.hex is not one of the files"):
        load_image(folder / "strange.hex")
    (folder / "firmware.bin").unlink()
    with pytest.raises(ExportError, match=r"firmware\.bin cannot be read"):
        load_image(folder)
    assert json.loads((built.folder / IMAGE_FILE).read_text())["board"] == "atmega328p"
