"""Where a prediction runs: at a server, or in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from littoral.core.errors import Expired, Invalid, LittoralError, NotFound
from littoral.core.request import InferAnswer, InferRequest, Parameters
from littoral.core.tensor import Tensor, bytes_array
from littoral.model import builtin
from littoral.model.model import Model
from littoral.model.repository import Repository
from littoral.serve.client.answer import Prediction, prediction_of
from littoral.serve.client.client import Client
from littoral.serve.client.tls import SYSTEM, ClientTls

LOCAL_URL = "http://127.0.0.1:8000"
LOCAL_SITE = "here"
_PROBE_S = 0.5


class Place(Protocol):
    """Somewhere a picture can be put through a model; used from several threads at once."""

    @property
    def story(self) -> str:
        """One sentence on where this is."""
        ...

    @property
    def task(self) -> str:
        """The model's task; "" where a server does not say."""
        ...

    @property
    def in_flight_max(self) -> int:
        """How many calls at a time make sense."""
        ...

    def predict(self, image: bytes, parameters: Parameters, deadline_ms: float | None) -> Prediction: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class AtServer:
    """A model at a server."""

    client: Client
    model: str
    task: str
    story: str
    in_flight_max: int = 8

    def predict(self, image: bytes, parameters: Parameters, deadline_ms: float | None) -> Prediction:
        return self.client.predict(self.model, image, parameters=parameters, deadline_ms=deadline_ms)

    def close(self) -> None:
        self.client.close()


@dataclass(slots=True)
class InProcess:
    """A model that this process opened itself."""

    model: Model
    story: str
    in_flight_max: int = 2

    @property
    def task(self) -> str:
        return "tensor" if self.model.task is None else self.model.task.kind

    def predict(self, image: bytes, parameters: Parameters, deadline_ms: float | None) -> Prediction:
        started_s = time.perf_counter()
        tensor = Tensor("image", "BYTES", bytes_array([image]))
        request = InferRequest(self.model.name, (tensor,), parameters=parameters)
        outputs = self.model.run(self.model.check(request), parameters)
        latency_ms = (time.perf_counter() - started_s) * 1e3
        if deadline_ms is not None and latency_ms > deadline_ms:
            raise Expired("answer_late", f"It took {latency_ms:.1f} ms, more than the {deadline_ms:g} ms given.")
        answer = InferAnswer(self.model.name, self.model.version, outputs, parameters={"site": LOCAL_SITE})
        return prediction_of(answer, latency_ms=latency_ms)

    def close(self) -> None:
        self.model.close()


def find_place(model: str, url: str | None, api_key: str | None, tls: ClientTls = SYSTEM) -> Place:
    """Where to run `model`.

    With a URL, there. Without one: a path runs in this process; a name runs at a server on this machine (port 8000) if
    one has that model ready, else in this process if it is a built-in model.
    """
    if url is not None:
        return at_server(Client(url, api_key=api_key, ca_file=tls.ca_file, cert_file=tls.cert_file), model)
    if Path(model).exists():
        return _in_process(model)
    local = Client(LOCAL_URL, api_key=api_key, timeout_s=_PROBE_S, retries=0)
    try:
        has_it = local.ready(model)
    except LittoralError:  # something else listens there, or it does not know the model
        has_it = False
    finally:
        local.close()
    if has_it:
        return at_server(Client(LOCAL_URL, api_key=api_key), model)
    return _in_process(model)


def open_here(model: str) -> tuple[Model, Path]:
    """The model in this process, and its path: one that was named, or that of the built-in model of that name."""
    from littoral.model.opening import open_model

    path = path_here(model)
    repository = Repository((path,))
    return open_model(repository.find(repository.names()[0])[-1]), path


def path_here(model: str) -> Path:
    """The path of one model: one that was named, or that of the built-in model of that name.

    Raises `NotFound` (`model_unknown`), `Invalid` (`models_several`).
    """
    path = Path(model)
    if not path.exists():
        known = Repository((builtin.path(),)).names()
        if model not in known:
            raise NotFound(
                "model_unknown",
                f"There is no model {model[:60]!r}: no file of that name, no server on this machine that has it, and "
                f"the built-in models are {', '.join(known)}.",
                name=model[:60],
            )
        path = builtin.path() / model
    repository = Repository((path,))
    names = repository.names()
    if len(names) != 1:
        raise Invalid(
            "models_several",
            f"{path} holds {len(names)} models: {', '.join(names[:20])}. Name the folder or file of one.",
        )
    return path


def model_file(place: Path) -> Path:
    """The newest version's file of the one model at a path that `open_here` found."""
    repository = Repository((place,))
    return repository.find(repository.names()[0])[-1].path


def model_folder(place: Path) -> Path:
    """The folder that holds a model's manifest."""
    repository = Repository((place,))
    source = repository.find(repository.names()[0])[-1]
    return source.manifest_path.parent if source.manifest_path is not None else source.path.parent


def at_server(client: Client, model: str) -> AtServer:
    """The model at a server, which is asked what it is before many pictures are sent."""
    try:
        task = str(client.metadata(model).parameters.get("task", ""))
        _check_task(model, task)
    except LittoralError:
        client.close()
        raise
    return AtServer(client, model, task, f"Asking {client.url}.")


def _in_process(name: str) -> InProcess:
    model, _ = open_here(name)
    place = InProcess(model, f"Running {model.name!r} in this process.")
    _check_task(model.name, place.task)
    return place


def _check_task(model: str, task: str) -> None:
    if task == "tensor":
        raise Invalid(
            "task_missing",
            f"Model {model!r} takes tensors, not pictures. Give it a task in its model.toml, or use Client.infer.",
        )
