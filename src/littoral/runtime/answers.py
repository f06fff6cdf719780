"""What an answer says about how it came to be."""

from __future__ import annotations

from littoral.core.request import Parameter
from littoral.core.tensor import Tensor
from littoral.model.model import Call, Model


def parameters_of(site: str, queued_s: float, computed_s: float) -> dict[str, Parameter]:
    """What every answer says; microseconds are the last digit that means anything."""
    return {
        "site": site,
        "plan": "local",
        "degraded": False,
        "queue_ms": round(queued_s * 1e3, 3),
        "compute_ms": round(computed_s * 1e3, 3),
    }


def confidence_of(model: Model, call: Call, outputs: tuple[Tensor, ...]) -> float | None:
    """The best score of a classified picture; None where nothing was classified or no score was asked for."""
    if call.image is None or model.task is None or model.task.kind != "classify":
        return None
    for tensor in outputs:
        if tensor.name == "score" and tensor.array.size:
            return round(float(tensor.array.max()), 4)
    return None
