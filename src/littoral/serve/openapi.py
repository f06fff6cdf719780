"""The HTTP door's own description, OpenAPI 3.1, as served at `/openapi.json`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from littoral.serve.openapi_schemas import SCHEMAS, Schema, ref
from littoral.serve.page import TYPES

_ERRORS: Final = {
    "400": "The request is wrong; the message says what to mend.",
    "401": "A key is needed.",
    "404": "No such model, version or path.",
    "409": "The state changed meanwhile; read again.",
    "413": "The body is too large.",
    "415": "The body's Content-Encoding is not known.",
    "429": "No room now; Retry-After says when.",
    "503": "What this needs is not there now.",
    "504": "The deadline is too near.",
}
_NAME_PATTERN: Final = "^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?$"
_PICTURE: Final[Schema] = {"type": "string", "format": "binary"}
_DEADLINE: Final[Schema] = {
    "name": "Littoral-Deadline-Ms",
    "in": "header",
    "schema": {"type": "number", "minimum": 0, "maximum": 1e6},
    "description": "Remaining budget in milliseconds.",
}
_HEADER_LENGTH: Final[Schema] = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "Size of the JSON where binary tensors follow it. 0: the whole body is the model's only input.",
}


@lru_cache(maxsize=1)
def openapi(version: str) -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Littoral",
            "version": version,
            "summary": "The Open Inference Protocol v2 over HTTP, with pictures.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "security": [{}, {"bearer": []}, {"apiKey": []}],
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _paths() -> dict[str, Any]:
    """Every path with its operations."""
    paths = _fixed_paths()
    for verb, summary in (("load", "Loads a model, or its newest version"), ("unload", "Takes a model out of service")):
        paths[f"/v2/repository/models/{{model}}/{verb}"] = {
            "parameters": [_path("model", _NAME_PATTERN)],
            "post": _operation(
                f"{verb}Model", summary, _json({"type": "object"}), body=_body(ref("ChangeRequest"), required=False)
            ),
        }
    for prefix, suffix, given in (
        ("/v2/models/{model}", "", [_path("model", _NAME_PATTERN)]),
        (
            "/v2/models/{model}/versions/{version}",
            "Version",
            [_path("model", _NAME_PATTERN), _path("version", "^[1-9][0-9]{0,17}$")],
        ),
    ):
        for what, item in _model_paths(suffix).items():
            paths[prefix + what] = {"parameters": given, **item}
    return paths


def _fixed_paths() -> dict[str, Any]:
    """The paths without a model's name."""
    return {
        "/": {
            "get": _operation(
                "root",
                "A page for browsers, for others where to start",
                {**_answers("text/plain", {"type": "string"}), **_answers("text/html", {"type": "string"})},
                open_to_all=True,
            )
        },
        **{
            f"/{name}": {
                "get": _operation(
                    f"page{number}",
                    "A file of the page",
                    _answers(kind.decode().partition(";")[0], {"type": "string"}),
                    open_to_all=True,
                )
            }
            for number, (name, kind) in enumerate(TYPES.items())
        },
        "/metrics": {
            "get": _operation(
                "metrics", "Prometheus metrics", _answers("text/plain", {"type": "string"}), open_to_all=True
            )
        },
        "/openapi.json": {"get": _operation("openapi", "This document", _json({"type": "object"}), open_to_all=True)},
        "/v2": {"get": _operation("serverMetadata", "Who answers", _json(ref("Server")))},
        "/v2/health/live": {
            "get": _operation("serverLive", "Whether the process answers", _json(ref("Live")), open_to_all=True)
        },
        "/v2/health/ready": {
            "get": _operation("serverReady", "Whether all models are ready", _json(ref("Ready")), open_to_all=True)
        },
        "/v2/models/stats": {"get": _operation("allStatistics", "Statistics of all models", _json(ref("Statistics")))},
        "/v2/littoral/corrections": {
            "get": _operation(
                "corrections",
                "Late answers of upstreams, as server-sent events without an end",
                _answers("text/event-stream", {"type": "string"}),
            )
        },
        "/v2/repository/index": {
            "get": _operation("index", "Every model and version with its state", _json(ref("Index"))),
            "post": _operation(
                "repositoryIndex",
                "Every model and version with its state",
                _json(ref("Index")),
                body=_body(ref("IndexRequest"), required=False),
            ),
        },
    }


def _model_paths(suffix: str) -> dict[str, Schema]:
    """The paths below one model; `suffix` keeps operation names apart."""
    return {
        "": {"get": _operation(f"modelMetadata{suffix}", "A model's signature", _json(ref("Model")))},
        "/ready": {"get": _operation(f"modelReady{suffix}", "Whether a model is ready", _json(ref("Ready")))},
        "/config": {"get": _operation(f"modelConfig{suffix}", "A model in Triton's words", _json(ref("ModelConfig")))},
        "/stats": {"get": _operation(f"modelStatistics{suffix}", "A model's statistics", _json(ref("Statistics")))},
        "/infer": {
            "post": _operation(
                f"infer{suffix}",
                "Tensors in, tensors out",
                {
                    **_json(ref("InferResponse")),
                    "application/octet-stream": {"schema": _PICTURE},
                },
                body={
                    "required": True,
                    "content": {
                        "application/json": {"schema": ref("InferRequest")},
                        "application/octet-stream": {"schema": _PICTURE},
                    },
                },
                parameters=[_HEADER_LENGTH, _DEADLINE],
            )
        },
        "/predict": {
            "post": _operation(
                f"predict{suffix}",
                "A picture in, labels or boxes out",
                _json(ref("PredictResponse")),
                body=_pictures(),
                parameters=[
                    _query("top_k", {"type": "integer", "minimum": 1, "maximum": 10_000}),
                    _query("threshold", {"type": "number", "minimum": 0, "maximum": 1}),
                    _query("box_count_max", {"type": "integer", "minimum": 1, "maximum": 10_000}),
                    _query("deadline_ms", {"type": "number", "minimum": 0, "maximum": 1e6}),
                    _DEADLINE,
                ],
            )
        },
    }


def _operation(
    name: str,
    summary: str,
    content: Schema,
    *,
    body: Schema | None = None,
    parameters: list[Schema] | None = None,
    open_to_all: bool = False,
) -> Schema:
    error = {"application/json": {"schema": ref("Error")}}
    made: Schema = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **{status: {"description": text, "content": error} for status, text in _ERRORS.items()},
            "default": {"description": "Any other refusal.", "content": error},
        },
    }
    if body is not None:
        made["requestBody"] = body
    if parameters:
        made["parameters"] = parameters
    if open_to_all:
        made["security"] = []
    return made


def _answers(content_type: str, schema: Schema) -> Schema:
    return {content_type: {"schema": schema}}


def _json(schema: Schema) -> Schema:
    return _answers("application/json", schema)


def _body(schema: Schema, *, required: bool) -> Schema:
    return {"required": required, "content": _json(schema)}


def _pictures() -> Schema:
    """The body of `predict`: a file, or a form with one."""
    form: Schema = {"type": "object", "properties": {"image": _PICTURE}, "required": ["image"]}
    kinds = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
    content: Schema = {kind: {"schema": _PICTURE} for kind in kinds}
    content["multipart/form-data"] = {"schema": form}
    return {"required": True, "content": content}


def _path(name: str, pattern: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _query(name: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "schema": schema}
