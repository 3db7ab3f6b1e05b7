"""The objective whose derivatives are those of the expected return, first and second.

At the parameters that the episodes were drawn with, the surrogate of Farquhar, Whiteson and Foerster, "Loaded DiCE"
(NeurIPS 2019),

    L = 1/n sum over t of [ box(v_t) - box(w_t) ] A_t,     box(x) = exp(x - stopped(x))
    l_t = log pi(a_t | s_t),   v_t = w_t + l_t

has as its gradient the policy gradient sum of grad l_t A_t, whatever w is. The Hessian is, by w_t:

    dice    w_t = sum of l before t     the unbiased one: sum of A_t [grad l_t grad l_t' + hess l_t + cross terms with
                                        the grad l before t] (Foerster et al., "DiCE", ICML 2018)
    lvc     w_t = 0                     without the cross terms: biased, of much lower variance (Rothfuss et al.,
                                        "ProMP: Proximal Meta-Policy Search", ICLR 2019, "low variance curvature")

MAML as it was published first differentiated l_t A_t, whose Hessian lacks the products of gradients altogether; both
papers correct that. n is the number of periods, so that the inner learning rate does not depend on how many there are.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Curvature = Literal["lvc", "dice"]


def box(x: Tensor) -> Tensor:
    """1, with the derivatives of exp(x - constant)."""
    return torch.exp(x - x.detach())


def surrogate(log_likelihood: Tensor, advantage: Tensor, alive: Tensor, curvature: Curvature) -> Tensor:
    """L of each policy, (P,), out of (P, K, H) tensors; its value is zero, its derivatives are what counts."""
    own = log_likelihood * alive
    if curvature == "dice":
        upto = torch.cumsum(own, dim=2)
        weight = box(upto) - box(upto - own)
    else:
        weight = box(own) - 1.0
    return (weight * advantage * alive).sum(dim=(1, 2)) / alive.sum(dim=(1, 2))
