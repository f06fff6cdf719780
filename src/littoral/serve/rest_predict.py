"""`predict` over HTTP, for people: a picture in, plain JSON out."""

from __future__ import annotations

import math
import time
from typing import Any, Final
from urllib.parse import parse_qsl

from littoral.core.errors import Invalid
from littoral.core.request import InferAnswer, InferRequest, Parameter
from littoral.core.tensor import Tensor, bytes_array
from littoral.model.tasks.task import IMAGE
from littoral.net.frame import Buffer
from littoral.serve.dataplane import DataPlane
from littoral.serve.http_head import Head
from littoral.serve.http_reply import Pending, Reply, json_reply
from littoral.serve.multipart import read_form

FIELDS: Final = ("label", "class_id", "score", "box", "anomalous")
"""The tasks' outputs, one row for each prediction, in the order in which they are told."""

_WHOLE: Final = frozenset({"top_k", "box_count_max"})
_KNOWN: Final = ("top_k", "threshold", "box_count_max", "deadline_ms")


def predict(plane: DataPlane, model: str, version: str, head: Head, body: Buffer) -> Reply | Pending:
    """Starts one prediction from a picture, or a form with one in its field `image`."""
    started_s = time.perf_counter()
    image, fields = _picture(head.content_type, body)
    parameters = _parameters(head.query, fields)
    asked_ms = parameters.pop("deadline_ms", None)
    budgets = [float(value) for value in (asked_ms, head.deadline_ms) if value is not None]
    tensor = Tensor(IMAGE.name, IMAGE.datatype, bytes_array([image]))
    request = InferRequest(
        model, (tensor,), version, parameters=parameters, budget_ms=min(budgets) if budgets else None
    )
    begun = plane.begin(request)
    if isinstance(begun, InferAnswer):
        return _reply(begun, started_s)
    return Pending(begun, lambda answer: _reply(answer, started_s))


def _picture(content_type: str, body: Buffer) -> tuple[Buffer, dict[str, bytes]]:
    """The encoded picture in a body, and a form's other fields."""
    kind = content_type.partition(";")[0].strip().lower()
    fields: dict[str, bytes] = {}
    image: Buffer | None = body
    if kind == "multipart/form-data":
        fields = read_form(content_type, body)
        image = fields.pop("image", None)
    elif kind in ("application/json", "text/plain"):
        raise Invalid(
            "image_missing",
            f"`predict` takes a picture, not {kind}. Send the file itself as the body, or tensors to `infer`.",
        )
    if not image:
        raise Invalid("image_missing", "There is no picture. Send the file as the body, or in the form field `image`.")
    return image, fields


def _parameters(query: str, fields: dict[str, bytes]) -> dict[str, Parameter]:
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=32)
    except ValueError:
        raise Invalid("parameter_wrong", "The URL's query is not made of NAME=VALUE.") from None
    given += [(name, value[:100].decode("utf-8", "replace")) for name, value in fields.items()]
    parameters: dict[str, Parameter] = {}
    for name, text in given:
        if name not in _KNOWN:
            raise Invalid("parameter_unknown", f"Parameter {name[:60]!r} is not known. Known are: {', '.join(_KNOWN)}.")
        parameters[name] = _number(name, text)
    return parameters


def _number(name: str, text: str) -> int | float:
    try:
        value = int(text[:20]) if name in _WHOLE else float(text)
    except ValueError:
        value = -1
    if not 0 <= value < math.inf:
        raise Invalid("parameter_wrong", f"Parameter {name!r} must be a number from 0, not {text[:40]!r}.")
    return value


def predicted(answer: InferAnswer) -> dict[str, Any]:
    """An answer as plain values: its predictions, and how they came to be."""
    told: dict[str, Any] = {"model": answer.model, "version": answer.version, "predictions": _predictions(answer)}
    for name, value in answer.parameters.items():
        told.setdefault(name, value)
    return told


def _reply(answer: InferAnswer, started_s: float) -> Reply:
    told = predicted(answer)
    told["latency_ms"] = round((time.perf_counter() - started_s) * 1e3, 3)
    return json_reply(told)


def _predictions(answer: InferAnswer) -> list[dict[str, Any]]:
    """One row for each label, box or score, in the task's order: best first."""
    columns = {tensor.name: _column(tensor) for tensor in answer.outputs if tensor.name in FIELDS}
    names = [name for name in FIELDS if name in columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in names), strict=True)]


def _column(tensor: Tensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [element.decode("utf-8", "replace") for element in tensor.array.ravel()]
    values: list[Any] = tensor.array.tolist()
    if tensor.name == "box":
        return [[round(side, 2) for side in box] for box in values]
    return [round(value, 6) for value in values] if tensor.datatype == "FP32" else values
