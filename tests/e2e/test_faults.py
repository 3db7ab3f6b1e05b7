"""A few of the faults of benchmarks/faults.py on the host board: each kind, all four promises."""

import random
from collections import Counter

import pytest

from benchmarks.fault_bench import Batch, Bench, build, inject, run_batch, undisturbed
from benchmarks.fault_kinds import KINDS
from benchmarks.faults import gathered, table

UNPLUGGED = "cable unplugged"


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    return build("host", tmp_path_factory.mktemp("firmware"))


def test_no_fault_on_the_line_breaks_a_promise(command, tmp_path):
    endings, notes = {}, []
    with Bench(command, "drop", tmp_path, random.Random(3)) as bench:
        right = undisturbed(bench)
        for number, kind in enumerate(k for k in KINDS for _ in range(2) if k != UNPLUGGED):
            bench.kind = kind
            ending, broken = inject(bench, right, number + 1, notes)
            assert not broken, (kind, broken, notes)
            endings.setdefault(kind, set()).add(ending)
    # a fault whose turn comes with the last messages may be too late to be felt
    assert endings["reset of the controller"] <= {"LinkLost", "valid", "missed"}
    assert "invalid, repeated" in endings["silent host"]
    assert "valid" in endings["flood"]


def test_a_pulled_cable_is_plugged_in_again(command):
    batch = run_batch(command, UNPLUGGED, 2, "seed")
    assert not batch.broken, batch.notes
    assert set(batch.endings) <= {"LinkLost", "valid", "missed"}


def test_batches_add_up_in_the_table():
    batch = Batch(UNPLUGGED, Counter({"LinkLost": 2, "missed": 1}), Counter({"released": 1}))
    found = gathered(iter([("host", batch), ("host", batch), ("atmega328p", batch)]))
    assert table(found).splitlines()[2:] == [
        "| cable unplugged | host | 6 | LinkLost 4, missed 2 | released 2 |",
        "| cable unplugged | atmega328p | 3 | LinkLost 2, missed 1 | released 1 |",
    ]


def test_a_broken_promise_is_counted(command, tmp_path):
    with Bench(command, "flood", tmp_path, random.Random(3)) as bench:
        right = undisturbed(bench)
        right.sensors[3] += 1  # as if an episode that is called valid were another one
        assert inject(bench, right, 1, []) == ("valid", ["right"])
