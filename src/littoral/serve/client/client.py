"""The client for programs with threads: every call blocks until it is answered, and any thread may call."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy.typing as npt

from littoral.core.clock import RealClock
from littoral.core.errors import LittoralError
from littoral.core.request import Parameters
from littoral.model.repository import IndexEntry
from littoral.serve.client.address import Address, read_addresses
from littoral.serve.client.answer import Answer, ModelFacts, Prediction, ServerFacts
from littoral.serve.client.conversation import Conversation, Dialect, Pause, Talk
from littoral.serve.client.picture import encoded
from littoral.serve.client.retry import RetryBudget, RetryPolicy
from littoral.serve.client.route import Route
from littoral.serve.client.tls import SYSTEM, ClientTls
from littoral.serve.client.wire import Wire

T = TypeVar("T")


class Client:
    """One server, over HTTP or gRPC as the URL says; or several that stand in for each other.

    Of several (`Client([edge, hub])`) the first is asked while it is well. Where it is away, late, full or without the
    model, the next one is, with the same request id and the time that is left; so a request fails only where all do.
    What failed is left alone for a while and gets its requests back once it answers again.

    `timeout_s` bounds every call, retries included; `deadline_ms` of a call may shorten it and is sent along, so that
    the server refuses at once what it cannot do in time. Retries happen only where the server is away or has no room,
    and stay under a tenth of the requests. Errors are the kinds of `littoral.core.errors`, with the server's code.
    Over `https://` and `grpcs://`, `ca_file` names whom to trust, `cert_file` and `key_file` how this client proves who
    it is; `tls` is a whole context instead, over HTTP. `server_name` is whom the server's certificate must be
    for, where that is not the URL's host.
    `binary=False` sends tensors over HTTP as JSON where JSON can hold them (pictures and FP16 it cannot).
    """

    def __init__(
        self,
        url: str | Sequence[str] = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_s: float = 30.0,
        retries: int = 2,
        ca_file: Path | str | None = None,
        cert_file: Path | str | None = None,
        key_file: Path | str | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        binary: bool = True,
    ) -> None:
        self._addresses = read_addresses(url)
        self._talk = conversation(self._addresses, api_key=api_key, timeout_s=timeout_s, retries=retries, binary=binary)
        chosen = ClientTls(ca_file, cert_file, key_file, tls, server_name)
        self._wires = [_wire(address, chosen) for address in self._addresses]

    @property
    def url(self) -> str:
        """The address in full of the server, or of the first of several."""
        return self._addresses[0].url

    def infer(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        outputs: Sequence[str] = (),
        parameters: Parameters | None = None,
        deadline_ms: float | None = None,
        version: str = "",
        request_id: str = "",
    ) -> Answer:
        """One inference: arrays by input name in, arrays by output name out; `outputs` () asks for all."""
        return self._drive(
            self._talk.infer(
                model,
                inputs,
                outputs=outputs,
                parameters=parameters,
                deadline_ms=deadline_ms,
                version=version,
                request_id=request_id,
            )
        )

    def predict(
        self,
        model: str,
        image: object,
        *,
        parameters: Parameters | None = None,
        deadline_ms: float | None = None,
        version: str = "",
        request_id: str = "",
    ) -> Prediction:
        """One picture (a path, encoded bytes, a Pillow image, a uint8 array) through a model with an image task.

        Files and bytes are sent as they are: compressed. `parameters` may hold `top_k` or `threshold`.
        """
        return self._drive(
            self._talk.predict(
                model,
                encoded(image),
                parameters=parameters,
                deadline_ms=deadline_ms,
                version=version,
                request_id=request_id,
            )
        )

    def models(self) -> tuple[IndexEntry, ...]:
        """Every model and version the server knows, with its state."""
        return self._drive(self._talk.models())

    def server(self) -> ServerFacts:
        """Who answers, and what it speaks."""
        return self._drive(self._talk.server())

    def metadata(self, model: str, *, version: str = "") -> ModelFacts:
        """A model's inputs and outputs."""
        return self._drive(self._talk.metadata(model, version=version))

    def ready(self, model: str = "", *, version: str = "") -> bool:
        """Whether the server (or one model of it) would answer now; False where nobody answers."""
        return self._drive(self._talk.ready(model, version=version))

    def load(self, model: str) -> None:
        """Loads a model, or its newest version; the old one answers until the new one can."""
        self._drive(self._talk.load(model))

    def unload(self, model: str) -> None:
        """Takes a model out of service."""
        self._drive(self._talk.unload(model))

    def close(self) -> None:
        """Closes the connections that are kept open."""
        for wire in self._wires:
            wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drive(self, talk: Talk[T]) -> T:
        try:
            step = next(talk)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = talk.send(None)
                    continue
                try:
                    reply = self._wires[step.target].send(step.ask, step.timeout_s)
                except LittoralError as error:
                    step = talk.throw(error)
                else:
                    step = talk.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result


def conversation(
    addresses: Sequence[Address], *, api_key: str | None, timeout_s: float, retries: int, binary: bool
) -> Conversation:
    """The verbs in the words of each address's wire."""
    assert timeout_s > 0, "a client always has a time limit"
    assert retries >= 0, "retries is how often a failed call is tried again"
    chance = random.Random()
    policy = RetryPolicy(retries_max=retries, budget=RetryBudget(), chance=chance)
    dialects = [dialect_of(address, api_key, binary=binary) for address in addresses]
    return Conversation(dialects, policy, Route(len(dialects), chance), RealClock(), timeout_s=timeout_s)


def dialect_of(address: Address, api_key: str | None, *, binary: bool = True) -> Dialect:
    """How the address's wire says things."""
    if address.wire == "http":
        from littoral.serve.client.http_dialect import HttpDialect

        return HttpDialect(api_key=api_key, binary=binary)
    from littoral.serve.client.grpc_dialect import GrpcDialect

    return GrpcDialect(api_key=api_key)


def _wire(address: Address, tls: ClientTls = SYSTEM) -> Wire:
    if address.wire == "http":
        from littoral.serve.client.http_wire import HttpWire
        from littoral.serve.client.tls import http_context

        context = http_context(tls) if address.tls else None
        return HttpWire(address, tls=context, server_name=tls.server_name)
    from littoral.serve.client.grpcio_wire import GrpcWire

    return GrpcWire(address, tls=tls)
