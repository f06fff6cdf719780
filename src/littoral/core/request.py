"""One inference as values: what is asked and what is answered, without any wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from littoral.core.tensor import Tensor

Parameter = bool | int | float | str
Parameters = Mapping[str, Parameter]

NO_PARAMETERS: Parameters = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One call of a model.

    `version` "" means the newest that is ready. `outputs` () asks for all. `budget_ms` is the time
    left when the request arrived (never an absolute time: clocks differ); None leaves it to the model's default.
    """

    model: str
    inputs: tuple[Tensor, ...]
    version: str = ""
    id: str = ""
    outputs: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)
    budget_ms: float | None = None


@dataclass(frozen=True, slots=True)
class InferAnswer:
    """The outputs, and in `parameters` how they came to be.

    Always present: `site`, `plan`, `degraded`, `queue_ms`, `compute_ms`. Where they apply: `reason`, `confidence`,
    `cached`, `answered_by` (another model), `hedged`.
    """

    model: str
    version: str
    outputs: tuple[Tensor, ...]
    id: str = ""
    parameters: Parameters = field(default_factory=lambda: NO_PARAMETERS)

    def output(self, name: str) -> Tensor:
        """The output of that name; `KeyError` if the answer has none."""
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)
