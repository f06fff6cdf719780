"""The shapes of the HTTP door's JSON, as OpenAPI 3.1 wants them."""

from __future__ import annotations

from typing import Any, Final

from littoral.core.errors import KINDS
from littoral.core.tensor import DATATYPES
from littoral.serve.statuses import STATUSES

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
_BOOL: Final[Schema] = {"type": "boolean"}
_NUMBER: Final[Schema] = {"type": "number"}


def ref(name: str) -> Schema:
    """A reference to one of the schemas below."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Schema) -> Schema:
    """A list of `items`."""
    return {"type": "array", "items": items}


def obj(properties: Schema, *, required: tuple[str, ...] = (), closed: bool = False) -> Schema:
    """An object; `closed`: with no other properties."""
    made: Schema = {"type": "object", "properties": properties}
    if required:
        made["required"] = list(required)
    if closed:
        made["additionalProperties"] = False
    return made


_PARAMETERS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "number", "string"]},
    "properties": {
        "deadline_ms": {"type": "number", "minimum": 0, "description": "Remaining budget of this request."},
        "timeout": {"type": "integer", "minimum": 0, "description": "The same in microseconds; 0 is none."},
        "binary_data_output": {"type": "boolean", "description": "All outputs as binary data."},
    },
}

_SHAPE: Final[Schema] = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 2**53}, "maxItems": 16}

_DATA: Final[Schema] = {
    "type": "array",
    "description": "The elements in row-major order, flat or nested. FP16 and BF16 travel as binary data only.",
}

_TENSOR: Final[Schema] = {
    "name": _TEXT,
    "shape": _SHAPE,
    "datatype": {"enum": list(DATATYPES)},
    "data": _DATA,
}

_INPUT: Final = obj(
    {
        **_TENSOR,
        "parameters": obj(
            {
                "binary_data_size": {**_WHOLE, "description": "Bytes of this tensor behind the JSON."},
                "encoding": {"enum": ["", "base64"], "description": "How the BYTES elements in `data` are written."},
            }
        ),
    },
    required=("name", "shape", "datatype"),
)

_OUTPUT: Final = obj(
    {**_TENSOR, "parameters": obj({"binary_data_size": _WHOLE})}, required=("name", "shape", "datatype")
)

_WANTED: Final = obj({"name": _TEXT, "parameters": obj({"binary_data": _BOOL})}, required=("name",))

_SPEC: Final = obj(
    {"name": _TEXT, "datatype": _TEXT, "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}}},
    required=("name", "datatype", "shape"),
)

_DURATION: Final = obj({"count": _WHOLE, "ns": _WHOLE}, required=("count", "ns"))
_DURATIONS: Final = (
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
)

_HOW: Final[Schema] = {
    "site": {"type": "string", "description": "Where it ran."},
    "plan": {"type": "string", "description": "How it was to run."},
    "degraded": {"type": "boolean", "description": "Whether the server did less than it was asked."},
    "reason": {"type": "string", "description": "Why it is degraded."},
    "queue_ms": {**_NUMBER, "description": "Milliseconds it waited."},
    "compute_ms": {**_NUMBER, "description": "Milliseconds it ran."},
}

_PREDICTION: Final = obj(
    {
        "label": _TEXT,
        "class_id": {"type": "integer"},
        "score": _NUMBER,
        "box": {
            "type": "array",
            "items": _NUMBER,
            "minItems": 4,
            "maxItems": 4,
            "description": "Left, top, right and bottom in the picture's own pixels.",
        },
        "anomalous": _BOOL,
    }
)

_KIND_LIST: Final = ", ".join(f"{kind.__name__} ({STATUSES[kind].http})" for kind in KINDS)

SCHEMAS: Final[Schema] = {
    "Error": {
        **obj({"error": _TEXT, "code": _TEXT, "retry_after_ms": _NUMBER}, required=("error", "code")),
        "description": f"`error` is for people, `code` is a stable word. Kinds: {_KIND_LIST}.",
    },
    "Server": obj(
        {"name": _TEXT, "version": _TEXT, "extensions": array(_TEXT)}, required=("name", "version", "extensions")
    ),
    "Live": obj({"live": _BOOL}, required=("live",)),
    "Ready": obj({"ready": _BOOL}, required=("ready",)),
    "Model": obj(
        {
            "name": _TEXT,
            "versions": array(_TEXT),
            "platform": _TEXT,
            "inputs": array(_SPEC),
            "outputs": array(_SPEC),
            "parameters": {"type": "object"},
        },
        required=("name", "platform", "inputs", "outputs"),
    ),
    "ModelConfig": obj(
        {"name": _TEXT, "platform": _TEXT, "max_batch_size": _WHOLE},
        required=("name", "platform", "max_batch_size", "input", "output"),
    ),
    "Statistics": obj(
        {
            "model_stats": array(
                obj(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "last_inference": _WHOLE,
                        "inference_count": _WHOLE,
                        "execution_count": _WHOLE,
                        "inference_stats": obj(dict.fromkeys(_DURATIONS, _DURATION), required=_DURATIONS),
                        "batch_stats": array({"type": "object"}),
                    },
                    required=("name", "version", "inference_stats"),
                )
            )
        },
        required=("model_stats",),
    ),
    "IndexRequest": obj({"ready": _BOOL, "repository_name": _TEXT}),
    "Index": array(
        obj({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT}, required=("name", "version", "state"))
    ),
    "ChangeRequest": obj({"parameters": {"type": "object"}}),
    "InferRequest": obj(
        {
            "id": _TEXT,
            "parameters": _PARAMETERS,
            "inputs": array(_INPUT),
            "outputs": array(_WANTED),
        },
        required=("inputs",),
    ),
    "InferResponse": obj(
        {
            "model_name": _TEXT,
            "model_version": _TEXT,
            "id": _TEXT,
            "parameters": {"type": "object", "properties": _HOW},
            "outputs": array(_OUTPUT),
        },
        required=("model_name", "outputs"),
    ),
    "PredictResponse": obj(
        {
            "model": _TEXT,
            "version": _TEXT,
            "predictions": array(_PREDICTION),
            **_HOW,
            "latency_ms": {**_NUMBER, "description": "Milliseconds from the whole request to this answer."},
        },
        required=("model", "version", "predictions", "latency_ms"),
    ),
}
