"""The client for asyncio: the same verbs as `Client`, awaited; used from one event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy.typing as npt

from littoral.core.errors import LittoralError
from littoral.core.request import Parameters
from littoral.model.repository import IndexEntry
from littoral.serve.client.address import Address, read_addresses
from littoral.serve.client.answer import Answer, ModelFacts, Prediction, ServerFacts
from littoral.serve.client.client import conversation
from littoral.serve.client.conversation import Pause, Talk
from littoral.serve.client.picture import encoded
from littoral.serve.client.tls import SYSTEM, ClientTls
from littoral.serve.client.wire import ANSWER_BYTES_MAX, AsyncWire

T = TypeVar("T")


class AsyncClient:
    """One server, or several that stand in for each other; `Client` explains time limits, deadlines and retries.

    A cancelled call closes its connection, so that half an answer never meets the next request.
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
        self._wires = [async_wire(address, chosen) for address in self._addresses]

    @property
    def url(self) -> str:
        """The address in full of the server, or of the first of several."""
        return self._addresses[0].url

    async def infer(
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
        return await self._drive(
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

    async def predict(
        self,
        model: str,
        image: object,
        *,
        parameters: Parameters | None = None,
        deadline_ms: float | None = None,
        version: str = "",
        request_id: str = "",
    ) -> Prediction:
        """One picture (a path, encoded bytes, a Pillow image, a uint8 array) through a model with an image task."""
        # A file is read, or an array encoded, beside the loop: either may take milliseconds.
        content = image if isinstance(image, bytes) else await asyncio.to_thread(encoded, image)
        return await self._drive(
            self._talk.predict(
                model,
                content,
                parameters=parameters,
                deadline_ms=deadline_ms,
                version=version,
                request_id=request_id,
            )
        )

    async def models(self) -> tuple[IndexEntry, ...]:
        """Every model and version the server knows, with its state."""
        return await self._drive(self._talk.models())

    async def server(self) -> ServerFacts:
        """Who answers, and what it speaks."""
        return await self._drive(self._talk.server())

    async def metadata(self, model: str, *, version: str = "") -> ModelFacts:
        """A model's inputs and outputs."""
        return await self._drive(self._talk.metadata(model, version=version))

    async def ready(self, model: str = "", *, version: str = "") -> bool:
        """Whether the server (or one model of it) would answer now; False where nobody answers."""
        return await self._drive(self._talk.ready(model, version=version))

    async def load(self, model: str) -> None:
        """Loads a model, or its newest version; the old one answers until the new one can."""
        await self._drive(self._talk.load(model))

    async def unload(self, model: str) -> None:
        """Takes a model out of service."""
        await self._drive(self._talk.unload(model))

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        for wire in self._wires:
            await wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _drive(self, talk: Talk[T]) -> T:
        try:
            step = next(talk)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = talk.send(None)
                    continue
                try:
                    reply = await self._wires[step.target].send(step.ask, step.timeout_s)
                except LittoralError as error:
                    step = talk.throw(error)
                else:
                    step = talk.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result


def async_wire(address: Address, tls: ClientTls = SYSTEM, *, answer_bytes_max: int = ANSWER_BYTES_MAX) -> AsyncWire:
    """Connections to an address, for one event loop; an answer beyond `answer_bytes_max` is broken off."""
    if address.wire == "http":
        from littoral.serve.client.http_async_wire import HttpAsyncWire
        from littoral.serve.client.tls import http_context

        context = http_context(tls) if address.tls else None
        return HttpAsyncWire(address, tls=context, server_name=tls.server_name, answer_bytes_max=answer_bytes_max)
    from littoral.serve.client.grpcio_wire import GrpcAsyncWire

    return GrpcAsyncWire(address, tls=tls, answer_bytes_max=answer_bytes_max)
