"""A stochastic policy around ours: N(mean, std) with the mean network of a PolicySpec and a learned log std.

Its parameters are those of the deterministic policy, then a log std for each action: theta (d,), log std (outputs,).
Acting at the mean is therefore the policy that `theta` is for everybody else. The mean is not clipped as actions are,
or its gradient would vanish beyond the limits; what the robot gets is clipped after the draw. Everything is float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..policy import PolicySpec, initial_theta
from ..policy_initial import InitialScheme
from ..policy_layers import stages_of

F64 = npt.NDArray[np.float64]

#: A log std beyond these is cut, and gets no gradient there: std between 0.018 and 2.7 half ranges of an actuator.
LOG_STD_BOUNDS = (-4.0, 1.0)


@dataclass(frozen=True)
class Network:
    """The mean networks of P parameter vectors: (W (P, n_in, n_out), b (P, 1, n_out), activated) of each stage."""

    stages: list[tuple[Tensor, Tensor | None, bool]]
    relu: bool

    def mean(self, inputs: Tensor) -> Tensor:
        """Inputs (P, N, network_inputs) to unclipped means (P, N, outputs)."""
        x = inputs
        for weights, bias, activated in self.stages:
            x = torch.bmm(x, weights) if bias is None else torch.baddbmm(bias, x, weights)
            if activated:
                x = torch.relu(x) if self.relu else torch.tanh(x)
        return x


class GaussianPolicy:
    """The functions of a parameter matrix (P, d + outputs): networks, std, log-likelihood."""

    def __init__(self, spec: PolicySpec) -> None:
        self.spec = spec

    @property
    def dimension(self) -> int:
        return self.spec.dimension + self.spec.outputs

    def start(self, scheme: InitialScheme, gain: float, log_std: float, seed: int) -> F64:
        """Initial parameters (d + outputs,)."""
        theta = initial_theta(self.spec, scheme, gain, seed).astype(np.float64)
        return np.concatenate([theta, np.full(self.spec.outputs, log_std)])

    def network(self, params: Tensor) -> Network:
        """The mean networks of `params` (P, d + outputs)."""
        stages: list[tuple[Tensor, Tensor | None, bool]] = []
        for stage in stages_of(self.spec):
            weights = params[:, torch.as_tensor(stage.index.T.copy())]
            if stage.minus is not None:
                weights = weights * torch.as_tensor(np.where(stage.minus.T, -1.0, 1.0))
            bias = None if stage.bias is None else params[:, None, stage.bias]
            stages.append((weights, bias, stage.activated))
        return Network(stages, self.spec.activation == "relu")

    def log_std(self, params: Tensor) -> Tensor:
        """Log standard deviations (P, outputs)."""
        return params[:, self.spec.dimension :].clamp(*LOG_STD_BOUNDS)

    def log_likelihood(self, params: Tensor, inputs: Tensor, actions: Tensor) -> Tensor:
        """Of unclipped actions (P, N, outputs) after inputs (P, N, network_inputs); shape (P, N).

        Without the constant -1/2 log 2 pi: derivatives do not see it.
        """
        log_std = self.log_std(params)[:, None, :]
        z = (actions - self.network(params).mean(inputs)) * torch.exp(-log_std)
        return (-0.5 * z * z - log_std).sum(dim=2)
