"""The parameter store, store.c: whatever a power cut leaves behind is the old parameters or the new ones."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import zlib

import numpy as np
import pytest

from esmaml_robot.policy import Normaliser, Policy, PolicySpec
from esmaml_robot.robot_spec import load_robot
from firmware_export.build import RUNTIME, WARNINGS
from firmware_export.policy_c import write_policy_c
from firmware_export.robot_c import write_robot_c

SPEC = load_robot("rover_uno")
POLICY = PolicySpec(inputs=2, outputs=2, hidden=(3,))
D = POLICY.dimension
SLOT = 4 * D + 24
#: a memory byte by byte, and a power supply
HAL = """
#include <string.h>
#include "hal.h"
static uint8_t memory[4096];
static uint32_t room = sizeof memory;
static long left = -1;
uint32_t hal_store_size(void) { return room; }
void hal_store_read(uint32_t at, uint8_t *d, uint32_t n) { memcpy(d, memory + at, n); }
void hal_store_write(uint32_t at, const uint8_t *d, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n && left != 0; i++) { memory[at + i] = d[i]; if (left > 0) { left--; } }
}
uint8_t *bytes(void) { return memory; }
void cut(long after) { left = after; }
void size(uint32_t n) { room = n; }
"""
HAL_HEAD = "uint8_t *bytes(void); void cut(long after); void size(uint32_t n);"


def build(folder, theta):
    write_policy_c(Policy(POLICY, theta, Normaliser.identity(2)), SPEC, folder)
    write_robot_c(SPEC, folder)
    (folder / "memory.c").write_text("#include <stdint.h>\n" + HAL_HEAD + HAL)
    sources = [
        *(RUNTIME / f"{n}.c" for n in ("store", "params", "directions", "crc32", "hashes")),
        folder / "policy.c",
        folder / "memory.c",
    ]
    out = folder / "store.so"
    subprocess.run(
        ["cc", "-std=c99", "-O2", "-ffp-contract=off", *WARNINGS, "-fsanitize=undefined", "-fno-sanitize-recover=all",
         "-shared", "-fPIC", f"-I{RUNTIME}", f"-I{folder}", *map(str, sources), "-o", str(out)],
        check=True,
    )  # fmt: skip
    library = ctypes.CDLL(str(out))
    library.bytes.restype = ctypes.POINTER(ctypes.c_uint8)
    return library


class Store:
    def __init__(self, library):
        self.library = library
        self.memory = np.ctypeslib.as_array(library.bytes(), (4096,))
        self.memory[:] = 0xFF
        library.cut(ctypes.c_long(-1))
        library.size(4096)

    def save(self, theta, cut=-1):
        """Save; after `cut` bytes the power goes, and comes back."""
        self.library.cut(ctypes.c_long(cut))
        result = self.library.store_save(theta.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        self.library.cut(ctypes.c_long(-1))
        return result

    def load(self):
        """The parameters, or None."""
        out = np.full(D, -7.0, np.float32)
        found = self.library.store_load(out.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        if not found:
            assert (out == -7.0).all()
        return out if found else None


def theta(number):
    return np.random.default_rng(number).normal(size=D).astype(np.float32)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("store"), theta(0))


@pytest.fixture
def store(library):
    return Store(library)


def test_a_new_chip_has_nothing(store):
    assert store.load() is None
    store.memory[:] = 0
    assert store.load() is None


def test_what_was_saved_last_comes_back(store):
    for number in range(1, 6):
        assert store.save(theta(number)) == 0
        assert store.load().tobytes() == theta(number).tobytes()


@pytest.mark.parametrize("saves_before", [0, 1, 2, 3])
def test_power_cut_at_every_byte_leaves_the_old_or_the_new(store, saves_before):
    for number in range(saves_before):
        store.save(theta(number))
    before, old = store.memory.copy(), store.load()
    new = theta(99)
    outcomes = set()
    for cut in range(SLOT + 1):
        store.memory[:] = before
        result = store.save(new, cut)
        found = store.load()
        is_new = found is not None and found.tobytes() == new.tobytes()
        is_old = found is None if old is None else found is not None and found.tobytes() == old.tobytes()
        assert is_new or is_old, f"after {cut} bytes"
        assert (result == 0) == is_new
        outcomes.add(is_new)
        # and the store works on
        assert store.save(theta(50)) == 0
        assert store.load().tobytes() == theta(50).tobytes()
    assert outcomes == {False, True}


def test_every_flipped_bit_of_the_newest_slot_brings_back_the_older(store):
    store.save(theta(1))
    store.save(theta(2))
    for at, bit in itertools.product(range(SLOT, 2 * SLOT), range(8)):
        store.memory[at] ^= 1 << bit
        assert store.load().tobytes() == theta(1).tobytes(), (at, bit)
        store.memory[at] ^= 1 << bit
    assert store.load().tobytes() == theta(2).tobytes()


def test_parameters_of_another_policy_are_not_taken(store, tmp_path):
    store.save(theta(1))
    other = Store(build(tmp_path, theta(7)))
    other.memory[:] = store.memory
    assert other.load() is None
    assert other.save(theta(8)) == 0
    assert other.load().tobytes() == theta(8).tobytes()


def test_the_generation_may_wrap(store):
    store.save(theta(1))
    generation = slice(4 * D, 4 * D + 4)
    # as if it had been saved 2^32 - 1 times: the CRC is made anew, by hand
    slot = store.memory[:SLOT]
    slot[generation] = 0xFF
    slot[-4:] = np.frombuffer(zlib.crc32(slot[:-4].tobytes()).to_bytes(4, "little"), np.uint8)
    assert store.load().tobytes() == theta(1).tobytes()
    for number in (2, 3, 4):
        assert store.save(theta(number)) == 0
        assert store.load().tobytes() == theta(number).tobytes()


def test_forgetting_leaves_nothing_and_survives_a_cut(store):
    store.save(theta(1))
    store.save(theta(2))
    assert store.library.store_forget() == 0
    assert store.load() is None
    assert store.library.store_forget() == 0
    assert store.save(theta(3)) == 0
    assert store.load().tobytes() == theta(3).tobytes()


def test_a_memory_that_is_too_small_is_told(store):
    store.library.size(2 * SLOT - 1)
    assert store.save(theta(1)) == 1
    assert store.load() is None
    store.library.size(2 * SLOT)
    assert store.save(theta(1)) == 0
