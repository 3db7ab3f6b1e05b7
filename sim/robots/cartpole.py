"""A pole on a cart: a rail, a motor with a force limit, and a pole that turns freely about its foot on the cart.

Cart-poles are branches of one multibody, up to 32 a world. The angle is 0 upright and grows towards +x.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..world import Branches, Link

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

CART_KG = 0.5
POLE_KG = 0.1
POLE_M = 0.6
#: from its middle to either end
RAIL_M = 1.2
LINKS = (
    Link("cart", "prismatic", (1.0, 0.0, 0.0), CART_KG, 1e-3),
    Link("pole", "revolute", (0.0, 1.0, 0.0), POLE_KG, POLE_KG * POLE_M**2 / 12.0, (0.0, 0.0, POLE_M / 2.0)),
)
GRAVITY_M_S2 = 9.81


class CartPoleBodies:
    """B cart-poles side by side.

    Args:
        control_rate_hz, physics_rate_hz: a force is held for physics_rate / control_rate steps.

    Attributes after `reset`, both (2, B):
        position: of the cart in m, of the pole in rad.
        velocity: of the cart in m/s, of the pole in rad/s.
    """

    def __init__(self, control_rate_hz: int, physics_rate_hz: int) -> None:
        self._branches = Branches(LINKS, physics_rate_hz, GRAVITY_M_S2)
        self._substeps = physics_rate_hz // control_rate_hz

    def reset(self, positions: F64) -> None:
        """At rest at `positions` (2, B)."""
        self._branches.reset(positions)
        self.position, self.velocity = self._branches.position, self._branches.velocity

    def step(self, force: F64, running: Bool | None = None) -> None:
        """One control period under forces (B,) in N on the carts; those that are not `running` may be left alone."""
        self._branches.force[0] = force
        self._branches.step(running, self._substeps)

    def close(self) -> None:
        self._branches.close()
