"""Littoral runs AI across devices, edge nodes and a cloud hub.

This is the face: the names a user needs, each loaded when it is first touched, so that `import littoral` opens no
file, starts no logger and loads no heavy library.

    littoral.serve("models/")                             serve until stopped (blocks)
    with littoral.serving("model.onnx") as server: ...    serve beside the caller
    littoral.Client("http://127.0.0.1:8000")              ask a server, from threads
    littoral.AsyncClient("grpc://127.0.0.1:8001")         ask a server, from asyncio
    @littoral.operator(inputs=..., outputs=...)           make a Python function a model
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from littoral.core.version import VERSION as __version__

if TYPE_CHECKING:
    from littoral.core.errors import Conflict as Conflict
    from littoral.core.errors import Corrupt as Corrupt
    from littoral.core.errors import Denied as Denied
    from littoral.core.errors import Expired as Expired
    from littoral.core.errors import Invalid as Invalid
    from littoral.core.errors import LittoralError as LittoralError
    from littoral.core.errors import NotFound as NotFound
    from littoral.core.errors import Overloaded as Overloaded
    from littoral.core.errors import Unavailable as Unavailable
    from littoral.core.tensor import TensorSpec as TensorSpec
    from littoral.edge.serving import Server as Server
    from littoral.edge.serving import serve as serve
    from littoral.edge.serving import serving as serving
    from littoral.model.function import operator as operator
    from littoral.serve.client.answer import Answer as Answer
    from littoral.serve.client.answer import Found as Found
    from littoral.serve.client.answer import Prediction as Prediction
    from littoral.serve.client.async_client import AsyncClient as AsyncClient
    from littoral.serve.client.client import Client as Client

_PLACES: dict[str, str] = {
    "Answer": "littoral.serve.client.answer",
    "AsyncClient": "littoral.serve.client.async_client",
    "Client": "littoral.serve.client.client",
    "Conflict": "littoral.core.errors",
    "Corrupt": "littoral.core.errors",
    "Denied": "littoral.core.errors",
    "Expired": "littoral.core.errors",
    "Found": "littoral.serve.client.answer",
    "Invalid": "littoral.core.errors",
    "LittoralError": "littoral.core.errors",
    "NotFound": "littoral.core.errors",
    "Overloaded": "littoral.core.errors",
    "Prediction": "littoral.serve.client.answer",
    "Server": "littoral.edge.serving",
    "TensorSpec": "littoral.core.tensor",
    "Unavailable": "littoral.core.errors",
    "operator": "littoral.model.function",
    "serving": "littoral.edge.serving",
}

__all__ = ["__version__", "serve", *_PLACES]  # noqa: PLE0604 - the names are written once, above


def __getattr__(name: str) -> Any:
    if name == "serve":
        return import_module("littoral.serve")
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'littoral' has no attribute {name!r}")
    return getattr(import_module(place), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _ServeRoom(ModuleType):
    """The room `littoral.serve`, which can be called as well: people write `littoral.serve("models/")`."""

    def __call__(self, *models: Any, **options: Any) -> None:
        import_module("littoral.edge.serving").serve(*models, **options)


class _Face(ModuleType):
    """This module. The import system puts each room into it under its name; `serve` is made callable then."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "serve" and type(value) is ModuleType:
            value.__class__ = _ServeRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
