"""The API's OpenAPI document, made of the same table that the router reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from littoral.hub.asked import Asked
from littoral.hub.verb import ANYONE, JSON, Verb, answer
from littoral.identity.roles import PERMISSIONS

_REFUSALS = ("400", "401", "403", "404", "409", "413", "415", "429", "503")


class ErrorView(msgspec.Struct):
    """What every refusal says: a message for people, a code for programs, and more beside them."""

    error: str
    code: str


class DocumentVerb:
    """`GET /openapi.json`."""

    def __init__(self, verbs: Sequence[Verb], version: str) -> None:
        self._verbs = verbs
        self._version = version
        self._document: dict[str, Any] | None = None

    async def answer(self, _asked: Asked) -> Response:
        """The document, made once."""
        if self._document is None:
            self._document = document(self._verbs, self._version)
        return answer(self._document)


def openapi_verb(verbs: Sequence[Verb], version: str) -> Verb:
    """The row of the document itself."""
    return Verb("GET", "/openapi.json", (ANYONE,), DocumentVerb(verbs, version).answer, "This document.")


def document(verbs: Sequence[Verb], version: str) -> dict[str, Any]:
    """OpenAPI 3.1 of these verbs."""
    kinds: list[Any] = [ErrorView]
    for verb in verbs:
        kinds += [kind for kind in (verb.takes, verb.gives, verb.query) if kind is not None and kind not in kinds]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    known = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for verb in verbs:
        paths.setdefault(verb.path, {})[verb.method.lower()] = _operation(verb, known, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Littoral hub", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


def _operation(verb: Verb, known: dict[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    error = {"content": {JSON: {"schema": known[ErrorView]}}}
    good: dict[str, Any] = {"description": verb.summary}
    if verb.gives is not None:
        good["content"] = {JSON: {"schema": known[verb.gives]}}
    operation: dict[str, Any] = {
        "summary": verb.summary,
        "operationId": re.sub(r"\W+", "_", f"{verb.method.lower()}{verb.path}").strip("_"),
        "parameters": [*_path_parameters(verb.path), *_query_parameters(verb, components)],
        "responses": {str(verb.status): good, **{code: {"description": "Refused.", **error} for code in _REFUSALS}},
    }
    if verb.takes is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": known[verb.takes]}}}
    elif verb.media:
        operation["requestBody"] = {"required": True, "content": {verb.media: {}}}
    if ANYONE not in verb.needs:
        operation["security"] = [{scheme: []} for scheme in _schemes(verb.needs)]
    return operation


def _schemes(needs: Sequence[str]) -> list[str]:
    """How callers that may ask show who they are: a site's permissions come with its certificate alone."""
    sites = PERMISSIONS["site"]
    schemes = ["certificate"] if any(need in sites for need in needs) else []
    return [*schemes, "token"] if any(need not in sites for need in needs) else schemes


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(verb: Verb, components: dict[str, Any]) -> list[dict[str, Any]]:
    if verb.query is None:
        return []
    properties = components[verb.query.__name__]["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
