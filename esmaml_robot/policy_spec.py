"""Architecture of a policy: how many inputs and outputs, which layers, and what it remembers within an episode."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from . import identity

#: Inputs that a clock adds: sine and cosine.
CLOCK_INPUTS = 2

# in the hash only where they differ from their default, so that policies from before they existed keep their hash
_LATER = ("layers", "displacement_rank", "clock_steps", "action_filter")


class PolicySpec(BaseModel):
    """Architecture of a policy: nothing that training changes.

    Attributes:
        inputs: observed sensors.
        outputs: actuators.
        hidden: widths of the hidden layers; () is a linear policy.
        activation: of the hidden layers; the output layer is linear and clipped to [-1, 1].
        layers: how the weight matrix of each layer is made of parameters (esmaml_robot/policy_layers.py).
        displacement_rank: number of products a layer, with `layers: low_displacement` only.
        clock_steps: period of a clock in control periods. Its sine and cosine are two more inputs, behind the sensors.
        action_filter: alpha of a first-order low-pass on the actions, the share of the way to go a control period.

    Raises:
        pydantic.ValidationError: a value is out of its bounds, or the rank is given without its layers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: Annotated[int, Field(ge=1, le=256)]
    outputs: Annotated[int, Field(ge=1, le=64)]
    hidden: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = (8,)
    activation: Literal["tanh", "relu"] = "tanh"
    layers: Literal["dense", "toeplitz", "low_displacement"] = "dense"
    displacement_rank: Annotated[int, Field(ge=1, le=16)] | None = None
    clock_steps: Annotated[int, Field(ge=2, le=4096)] | None = None
    action_filter: Annotated[float, Field(ge=1e-4, lt=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _rank_belongs_to_its_layers(self) -> Self:
        if (self.layers == "low_displacement") != (self.displacement_rank is not None):
            raise ValueError("displacement_rank (1 to 16) is needed with layers: low_displacement, and only there")
        return self

    @property
    def network_inputs(self) -> int:
        """Inputs of the first layer: the observed sensors, and two more with a clock."""
        return self.inputs + (CLOCK_INPUTS if self.clock_steps else 0)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.network_inputs, *self.hidden, self.outputs)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each layer."""
        return tuple(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def weights_of(self, n_in: int, n_out: int) -> int:
        """Number of parameters of one layer, its bias not among them."""
        if self.layers == "toeplitz":
            return n_in + n_out - 1
        if self.displacement_rank is not None:
            return 2 * self.displacement_rank * max(n_in, n_out)
        return n_in * n_out

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return sum(self.weights_of(n_in, n_out) + n_out for n_in, n_out in self.shapes)

    @property
    def layout_hash(self) -> str:
        fields = self.model_dump(mode="json")
        return identity.digest_json(
            {k: v for k, v in fields.items() if k not in _LATER or v != type(self).model_fields[k].default}
        )

    def describe(self) -> str:
        kind = f"{self.activation} MLP" if self.hidden else "linear"
        parts = [f"{kind} {'-'.join(map(str, self.sizes))}"]
        if self.layers == "toeplitz":
            parts.append("Toeplitz layers")
        if self.displacement_rank is not None:
            parts.append(f"low-displacement layers of rank {self.displacement_rank}")
        if self.clock_steps is not None:
            parts.append(f"a clock of {self.clock_steps} steps among the inputs")
        if self.action_filter is not None:
            parts.append(f"action filter {self.action_filter:g}")
        return ", ".join([*parts, f"{self.dimension} parameters"])
