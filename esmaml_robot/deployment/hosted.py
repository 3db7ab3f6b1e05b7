"""Host in the loop: the policy runs in this program, the controller only senses, limits, drives and watches.

For a controller that cannot hold the policy. Each control period costs a round trip over the line; a command that comes
later than its period is not applied any more, and the one before stays. Parameters never travel: this program has them.
"""

from __future__ import annotations

import numpy as np

from ..adaptation.base import Proposals, materialise
from ..bridge.controller import RobotController, theta_crc32
from ..bridge.episode import EpisodeRecord
from ..errors import PolicyError
from ..policy import Policy, PolicyBatch
from ..signals import F32, I32


class HostedRobot:
    """A robot as `AdaptationSession` wants it, driven from here.

    Args:
        controller: connected; what its own policy is does not matter.
        policy: architecture and normaliser of the policy that runs here.
    """

    def __init__(self, controller: RobotController, policy: Policy) -> None:
        self._controller, self._policy = controller, policy
        self._base: F32 = policy.theta

    def selftest(self) -> float:
        """The policy that runs is numpy's own."""
        return 0.0

    def upload(self, theta: F32) -> int:
        self._base = np.array(theta, np.float32)
        return theta_crc32(self._base)

    def commit(self, seed: int, sigma: float, expected_theta: F32) -> int:
        return self.upload(expected_theta)

    def arm(self) -> None:
        self._controller.arm()

    def disarm(self) -> None:
        self._controller.disarm()

    def run_episode(self, episode_id: int, episode_seed: int, direction_seed: int, sigma: float) -> EpisodeRecord:
        """One episode with base + sigma * direction(direction_seed). Raises PolicyError where that is not finite."""
        one = Proposals(
            self._base,
            np.array([direction_seed], np.uint32),
            np.array([sigma], np.float32),
            np.array([episode_seed], np.uint32),
        )
        theta = materialise([one])
        if not np.isfinite(theta).all():
            raise PolicyError("the candidate is not finite; lower sigma. The robot was not moved.")
        signals = self._controller.signals
        policy = PolicyBatch(self._policy.spec, theta, self._policy.normaliser)
        policy.reset()

        def act(tick: int, sensors: I32) -> I32:
            action = policy.act(signals.observe(signals.to_si(sensors[:, None])), tick)
            if not np.isfinite(action).all():
                raise PolicyError(f"the policy gave {action[:, 0]} in control period {tick}; the robot is stopped.")
            wanted: I32 = signals.to_counts(action)[:, 0]
            return wanted

        return self._controller.run_hosted(episode_id, episode_seed, act)
