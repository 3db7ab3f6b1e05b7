"""Files of an export: whole or not there, the same bytes twice, verified before they replace anything."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esmaml_robot import directions, files
from esmaml_robot.errors import CheckpointError, EsmamlError, ExportError, PolicyError, SpecMismatch, ToolMissing
from esmaml_robot.files import atomic_write_bytes, atomic_write_text, make_folder
from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export import compiler, export, verify
from firmware_export.c_source import comment, float_literal, float_literals, int_literals, rows
from firmware_export.export import export_policy
from firmware_export.onnx_model import write_onnx
from firmware_export.policy_c import write_policy_c
from firmware_export.reference import random_sensors
from firmware_export.robot_c import write_robot_c
from firmware_export.verify import verify_export

ROVER = load_robot("rover_uno")
NAMES = {"policy.onnx", "policy.h", "policy.c", "export.json"}


def make_policy(seed=1, scale=1.0, hidden=(8,)):
    spec = PolicySpec(inputs=2, outputs=2, hidden=hidden)
    return Policy(
        spec, directions.directions([seed], spec.dimension)[0] * np.float32(scale), Normaliser.identity(spec.inputs)
    )


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


# ---- atomic writes


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "file"
    assert atomic_write_bytes(target, b"old") == target
    atomic_write_text(target, "new \N{GREEK SMALL LETTER THETA}\n")
    assert contents(tmp_path) == {"file": "new \N{GREEK SMALL LETTER THETA}\n".encode()}
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
@pytest.mark.parametrize("existing", [True, False])
def test_a_full_disk_leaves_the_old_file(call, existing, tmp_path, monkeypatch):
    target = tmp_path / "file"
    if existing:
        target.write_bytes(b"old")
    real = os.write

    def refuse(*arguments):
        if call == "write":  # a disk fills up in the middle, not at the first byte
            real(arguments[0], arguments[1][:2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(CheckpointError, match=r"file: no space left.*free some space") as caught:
        atomic_write_bytes(target, b"new content", error=CheckpointError)
    monkeypatch.undo()
    assert ("old file is unchanged" if existing else "Nothing was written") in str(caught.value)
    assert contents(tmp_path) == ({"file": b"old"} if existing else {})


def test_a_real_size_limit_leaves_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    script = f"""
        import pathlib, resource
        from esmaml_robot.errors import ExportError
        from esmaml_robot.files import atomic_write_bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            atomic_write_bytes(pathlib.Path({str(tmp_path / "file")!r}), bytes(100000), error=ExportError)
        except ExportError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert "size limit is reached (100000 bytes wanted" in done.stdout
    assert contents(tmp_path) == {"file": b"old"}


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(files.os, "write", lambda handle, data: real(handle, data[:7]))
    data = bytes(range(256))
    assert atomic_write_bytes(tmp_path / "file", data).read_bytes() == data


def test_an_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(_handle):
        raise KeyboardInterrupt

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write_bytes(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


def test_errors_name_the_path_and_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(EsmamlError, match=r"missing does not exist; create it"):
        atomic_write_bytes(tmp_path / "missing" / "file", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    with pytest.raises(ExportError, match="is a file, not a folder"):
        atomic_write_bytes(tmp_path / "plain" / "file", b"x", error=ExportError)
    with pytest.raises(ExportError, match="in the way"):
        make_folder(tmp_path / "plain", error=ExportError)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match="in the way"):
        atomic_write_bytes(tmp_path / "folder", b"x", error=ExportError)

    def forbid(*_arguments):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.os, "open", forbid)
    with pytest.raises(EsmamlError, match=r"no permission to write in .*another folder"):
        atomic_write_bytes(tmp_path / "file", b"x")


# ---- C text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_float_literals_are_exact(value):
    literal = float_literal(np.float32(value), "x")
    assert re.fullmatch(r"-?0x[01](\.[0-9a-f]*[1-9a-f])?p[+-]\d+f", literal)
    back = np.float32(float.fromhex(literal.rstrip("f")))
    assert back.tobytes() == np.float32(value).tobytes()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.1])
def test_float_literals_refuse_what_is_not_a_finite_float32(bad):
    with pytest.raises(ExportError, match="the gain"):
        float_literal(bad, "the gain")


def test_other_types_and_big_integers_are_refused():
    with pytest.raises(ExportError, match="float64"):
        float_literals(np.zeros(2), "weights")
    with pytest.raises(ExportError, match=r"limits\[1\] is 2147483648"):
        int_literals(np.array([1, 2**31]), "limits")


@given(st.text(max_size=30))
def test_no_text_breaks_out_of_a_comment(text):
    for hostile in (text, f"*/{text}/*", f"/*/{text}*", f"{text}??/", f"{text}\\"):
        line = comment(hostile)
        assert "*/" not in line
        assert "/*" not in line
        assert "??" not in line
        assert "\n" not in line
        assert not line.endswith(("\\", "*", "/"))
        assert len(line.splitlines()) <= 1


def test_rows_keep_every_item_in_order():
    items = [str(i) for i in range(500)]
    lines = rows(items, 40)
    assert all(len(line) <= 40 and line.endswith(",") for line in lines)
    assert " ".join(lines).replace(",", "").split() == items
    assert rows([]) == []


# ---- export


def test_export_writes_files_manifest_and_a_report(tmp_path):
    policy = make_policy()
    report = export_policy(policy, ROVER, tmp_path / "new" / "export", samples=10000)
    folder = tmp_path / "new" / "export"
    assert set(contents(folder)) == NAMES
    assert report.verify.samples == 10000
    assert report.verify.bit_equal is True
    assert report.verify.numpy_c == 0
    assert 0 < report.verify.numpy_onnx <= 1e-5
    assert report.verify.onnx_c == report.verify.numpy_onnx
    assert report.verify.selftest_error == 0
    manifest = json.loads((folder / "export.json").read_text())
    assert manifest == json.loads(json.dumps(report.to_json()))
    assert manifest["policy_hash"] == policy.policy_hash
    assert set(manifest["files"]) == NAMES - {"export.json"}
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert entry == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    text = "\n".join(report.verify.lines())
    assert "bit-equal" in text
    assert "10000 random observations" in text


def test_export_twice_gives_the_same_bytes(tmp_path):
    export_policy(make_policy(), ROVER, tmp_path / "a", samples=200)
    export_policy(make_policy(2), ROVER, tmp_path / "b", samples=200)
    other = contents(tmp_path / "b")
    export_policy(make_policy(), ROVER, tmp_path / "b", samples=200)  # in another place, over another policy
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert all(other[name] != contents(tmp_path / "a")[name] for name in NAMES)


def test_one_format_leaves_the_files_of_the_other_alone(tmp_path):
    report = export_policy(make_policy(), ROVER, tmp_path, formats=["c"], samples=50)
    assert set(contents(tmp_path)) == {"policy.h", "policy.c", "export.json"}
    assert report.verify.numpy_onnx is report.verify.onnx_c is None
    before = contents(tmp_path)["policy.c"]
    report = export_policy(make_policy(2), ROVER, tmp_path, formats=["onnx"], samples=50)
    assert contents(tmp_path)["policy.c"] == before
    assert [f.path.name for f in report.files] == ["policy.onnx"]
    assert report.verify.bit_equal is None
    for formats in ([], ["c", "tflite"]):
        with pytest.raises(ExportError, match="choose from: onnx, c"):
            export_policy(make_policy(), ROVER, tmp_path, formats=formats)


def spoil_nan(policy):
    policy.theta[7] = np.nan


def spoil_inf(policy):
    policy.theta[41] = np.inf


def spoil_normaliser(policy):
    policy.normaliser.mean[1] = np.nan


@pytest.mark.parametrize("spoil", [spoil_nan, spoil_inf, spoil_normaliser])
def test_nan_is_refused_and_nothing_is_written(spoil, tmp_path):
    export_policy(make_policy(), ROVER, tmp_path, samples=50)
    before = contents(tmp_path)
    bad = make_policy(2)
    spoil(bad)
    for write in (export_policy, write_policy_c):
        with pytest.raises(PolicyError):
            write(bad, ROVER, tmp_path)
        assert contents(tmp_path) == before
    with pytest.raises(PolicyError):
        write_policy_c(bad, ROVER, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_full_disk_leaves_the_old_export(at, tmp_path, monkeypatch):
    export_policy(make_policy(), ROVER, tmp_path, samples=50)
    before = contents(tmp_path)
    real, calls = os.write, []

    def fills_up(handle, data):
        calls.append(handle)
        if len(calls) == at:
            real(handle, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    monkeypatch.setattr(files.os, "write", fills_up)
    with pytest.raises(ExportError, match="no space left"):
        export_policy(make_policy(2), ROVER, tmp_path, samples=50)
    monkeypatch.undo()
    assert contents(tmp_path) == before


def test_a_failed_comparison_leaves_the_old_export(tmp_path, monkeypatch):
    export_policy(make_policy(), ROVER, tmp_path, samples=50)
    before = contents(tmp_path)
    wrong = make_policy(2)
    wrong.theta[0] += np.float32(0.01)
    monkeypatch.setattr(export, "write_onnx", lambda _policy, spec, path: write_onnx(wrong, spec, path))
    with pytest.raises(SpecMismatch, match="policy_hash differs"):
        export_policy(make_policy(2), ROVER, tmp_path, samples=50)
    assert contents(tmp_path) == before


def test_robot_files_twice_and_on_a_full_disk(tmp_path, monkeypatch):
    paths = write_robot_c(ROVER, tmp_path / "a")
    assert [p.name for p in paths] == ["robot_model.h", "robot_model.c"]
    write_robot_c(ROVER, tmp_path / "b")
    before = contents(tmp_path / "a")
    assert before == contents(tmp_path / "b")

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(ExportError, match="no space left"):
        write_robot_c(ROVER, tmp_path / "a")
    assert contents(tmp_path / "a") == before


# ---- verify


@pytest.fixture
def exported(tmp_path):
    policy = make_policy()
    export_policy(policy, ROVER, tmp_path, samples=50)
    return policy, tmp_path


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


def test_a_file_of_another_policy_or_robot_is_refused(exported, tmp_path):
    policy, folder = exported
    with pytest.raises(SpecMismatch, match="policy_hash"):
        verify_export(make_policy(2), ROVER, folder, samples=10)
    other = ROVER.model_copy(update={"control_rate_hz": 5})
    for formats in (["c"], ["onnx"]):
        with pytest.raises(SpecMismatch, match="spec_hash"):
            verify_export(policy, other, folder, samples=10, formats=formats)


def test_changed_arithmetic_is_found_by_the_comparison(exported):
    policy, folder = exported
    # the vectors are computed by the same file, so blind the selftest first: the comparison itself must notice
    change(folder / "policy.c", "result = 1;", "result = result;")
    change(folder / "policy.c", "return p / q;", "return p / q + 0.0001f;")
    with pytest.raises(ExportError, match=r"numpy and C differ by .* half ranges, allowed 1e-05: for sensors \["):
        verify_export(policy, ROVER, folder, samples=2000)


def test_failing_selftest_missing_and_broken_files_are_refused(exported):
    policy, folder = exported
    source, original = folder / "policy.c", (folder / "policy.c").read_text()
    change(source, "result = 0;", "result = 1;")
    with pytest.raises(ExportError, match=r"policy_selftest\(\).*a test vector is missed"):
        verify_export(policy, ROVER, folder, samples=10)
    source.write_text(original.replace("return p / q;", "return p / ;"))
    with pytest.raises(ExportError, match=r"compiling policy\.c.* failed .*error: expected expression"):
        verify_export(policy, ROVER, folder, samples=10)
    source.unlink()
    with pytest.raises(ExportError, match=r"policy\.c does not exist"):
        verify_export(policy, ROVER, folder, samples=10)
    model = folder / "policy.onnx"
    model.write_bytes(model.read_bytes()[:300])
    with pytest.raises(ExportError, match="onnxruntime refuses"):
        verify_export(policy, ROVER, folder, samples=10, formats=["onnx"])


def test_code_that_hides_nan_is_refused(exported):
    policy, folder = exported
    change(folder / "policy.c", "    return x;\n}", "    return x == x ? x : 0.0f;\n}")
    with pytest.raises(ExportError, match="a sensor that is NaN gives the command"):
        verify_export(policy, ROVER, folder, samples=10)


def test_code_that_crashes_or_hangs_ends_only_its_own_process(exported, monkeypatch):
    policy, folder = exported
    source, original = folder / "policy.c", (folder / "policy.c").read_text()
    change(source, "int result = 0;", "int result = 0;\n    __builtin_trap();")
    with pytest.raises(ExportError, match=r"failed \(signal \d+\)"):
        verify_export(policy, ROVER, folder, samples=10)
    source.write_text(original)
    change(source, "int result = 0;", "volatile int result = 0;\n    while (result == 0) { }")
    real = compiler.run
    monkeypatch.setattr(verify, "run", lambda command, what, data=b"": real(command, what, data=data, deadline_s=0.5))
    with pytest.raises(ExportError, match="took longer than"):
        verify_export(policy, ROVER, folder, samples=10)


def test_no_compiler_is_named_with_its_package(exported, monkeypatch, tmp_path):
    policy, folder = exported
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(ToolMissing, match="sudo apt install gcc libc6-dev"):
        verify_export(policy, ROVER, folder, samples=10)
    assert verify_export(policy, ROVER, folder, samples=10, formats=["onnx"]).numpy_onnx <= 1e-5


def test_amplified_rounding_beyond_the_tolerance_is_refused(tmp_path):
    # an output weight of 2000 magnifies the difference of two tanh a thousandfold: honest numbers, and not the same
    policy = make_policy()
    policy.theta[24:40] *= np.float32(2000)
    with pytest.raises(ExportError, match="magnify rounding"):
        export_policy(policy, ROVER, tmp_path, samples=10000)
    assert contents(tmp_path) == {}


def test_random_sensors_are_reproducible_and_reach_every_kind():
    sensors = random_sensors(ROVER, 10000, seed=3)
    assert sensors.tobytes() == random_sensors(ROVER, 10000, seed=3).tobytes()
    assert sensors.tobytes() != random_sensors(ROVER, 10000, seed=4).tobytes()
    assert np.isfinite(sensors).all()
    inside = np.abs(sensors) <= 2.5
    assert 0.7 < inside.all(axis=1).mean() < 0.9
    for value in (2.5, -2.5, 0.0, np.finfo(np.float32).max, np.nextafter(np.float32(2.5), np.float32(3))):
        assert (sensors == value).any()
    with pytest.raises(ExportError, match="samples is 0"):
        verify_export(make_policy(), ROVER, "nowhere", samples=0)


def test_normaliser_is_part_of_what_is_verified(tmp_path):
    spec = PolicySpec(inputs=2, outputs=2, hidden=(8,))
    normaliser = Normaliser(np.array([0.25, -0.5], np.float32), np.array([1.5, 4.0], np.float32))
    policy = Policy(spec, directions.directions([5], spec.dimension)[0], normaliser)
    assert export_policy(policy, ROVER, tmp_path, samples=3000).verify.bit_equal is True
