"""Base parameters: read back, and kept over power off."""

import ctypes

import numpy as np

from esmaml_robot.adaptation.base import Proposals, materialise
from esmaml_robot.bridge.controller import theta_crc32
from esmaml_robot.bridge.messages import Result


def test_parameters_are_read_in_pieces(board):
    d = board.policy.dimension
    (first,) = board.send("params_read", offset=0)
    (last,) = board.send("params_read", offset=d - 3)
    (beyond,) = board.send("params_read", offset=d)
    (far,) = board.send("params_read", offset=2**32 - 1)
    assert (first.values["used"], last.values["used"], beyond.values["used"], far.values["used"]) == (6, 3, 0, 0)
    assert np.float32(first.values["values"][:6]).tobytes() == board.theta.tobytes()
    assert np.float32(last.values["values"][:3]).tobytes() == board.theta[-3:].tobytes()


def test_kept_parameters_are_there_after_a_restart_and_gone_when_forgotten(board):
    seed, sigma = 5, 0.5
    moved = materialise([Proposals(board.theta, np.uint32([seed]), np.float32([sigma]), np.uint32([0]))])[0]
    crc = theta_crc32(moved)
    assert board.command("commit", direction_seed=seed, sigma=sigma, crc32=crc) == Result.OK
    assert board.command("params_store", keep=1) == Result.OK
    again = board.again()
    again.hello()
    assert again.status()["crc32"] == crc
    assert again.command("params_store", keep=0) == Result.OK
    last = board.again()
    last.hello()
    assert last.status()["crc32"] == theta_crc32(board.theta)


def test_a_board_without_memory_says_so(board):
    board.c.store_room(ctypes.c_uint32(10))
    (ack,) = board.send("params_store", keep=1)
    assert (ack.values["result"], ack.values["detail"]) == (Result.NOT_STORED, 2 * (4 * board.policy.dimension + 24))
