"""gRPC over grpcio, which the extra `[grpc]` brings: raw messages in, raw messages out, blocking or awaited."""

from __future__ import annotations

from typing import Any

from littoral.core.errors import Unavailable
from littoral.serve.client.address import Address
from littoral.serve.client.http_wire import CONNECT_S_MAX, late
from littoral.serve.client.tls import SYSTEM, ClientTls, grpc_credentials, grpc_options
from littoral.serve.client.wire import ANSWER_BYTES_MAX, Ask, Reply

# A connection may take as long to be made as over HTTP; what was away is looked for every two seconds, not every two
# minutes. Unlimited to send: the server sets the limits, and an answer is never larger than what was asked for.
_COMMON: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.min_reconnect_backoff_ms", int(CONNECT_S_MAX * 1e3)),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),  # a new channel knows nothing of another one's failures
]
_OPTIONS = [*_COMMON, ("grpc.max_receive_message_length", -1)]
_INT32_MAX = 2**31 - 1
_DEADLINE_EXCEEDED = 4
_UNAVAILABLE = 14
# How gRPC's core words what a proxy that speaks no gRPC answered, or a stream that was broken off.
_NO_GRPC, _BROKEN = "Received http2 header with status", "Stream removed"


class GrpcWire:
    """One channel; grpcio multiplexes calls of any number of threads over it."""

    def __init__(self, address: Address, *, tls: ClientTls = SYSTEM) -> None:
        grpc = _grpcio()
        self._address = address
        self._failure = grpc.RpcError
        if address.tls:
            options = [*_OPTIONS, *grpc_options(tls)]
            self._channel: Any = grpc.secure_channel(address.authority, grpc_credentials(grpc, tls), options=options)
        else:
            self._channel = grpc.insecure_channel(address.authority, options=_OPTIONS)
        self._calls: dict[str, Any] = {}

    def send(self, ask: Ask, timeout_s: float) -> Reply:
        """One unary call; a failed one is a reply too, with gRPC's code as its status."""
        call = self._calls.get(ask.path)
        if call is None:
            call = self._calls.setdefault(ask.path, self._channel.unary_unary(ask.path))
        try:
            body, done = call.with_call(_joined(ask), timeout=timeout_s, metadata=ask.headers)
        except self._failure as error:
            return _failed(error, self._address)
        return Reply(0, _headers(done.trailing_metadata()), body)

    def close(self) -> None:
        self._channel.close()


class GrpcAsyncWire:
    """The same on an event loop; the channel is made with the first call, on the loop that makes it."""

    def __init__(self, address: Address, *, tls: ClientTls = SYSTEM, answer_bytes_max: int = ANSWER_BYTES_MAX) -> None:
        self._grpc = _grpcio()
        self._options = [*_COMMON, ("grpc.max_receive_message_length", min(answer_bytes_max, _INT32_MAX))]
        self._address = address
        self._tls = tls
        self._channel: Any = None
        self._calls: dict[str, Any] = {}

    async def send(self, ask: Ask, timeout_s: float) -> Reply:
        """One unary call; a failed one is a reply too, with gRPC's code as its status."""
        if self._channel is None:
            self._channel = self._open()
        call = self._calls.get(ask.path)
        if call is None:
            call = self._calls.setdefault(ask.path, self._channel.unary_unary(ask.path))
        begun = call(_joined(ask), timeout=timeout_s, metadata=ask.headers)
        try:
            body = await begun
            return Reply(0, _headers(await begun.trailing_metadata()), body)
        except self._grpc.RpcError as error:
            return _failed(error, self._address)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> Any:
        from grpc import aio

        if self._address.tls:
            credentials = grpc_credentials(self._grpc, self._tls)
            options = [*self._options, *grpc_options(self._tls)]
            return aio.secure_channel(self._address.authority, credentials, options=options)
        return aio.insecure_channel(self._address.authority, options=self._options)


def _grpcio() -> Any:
    try:
        import grpc
    except ImportError as error:
        raise Unavailable(
            "extra_missing",
            "A grpc:// address needs grpcio, which is not installed. Run: pip install 'littoral[grpc]', or use http://.",
            extra="grpc",
        ) from error
    return grpc


def _joined(ask: Ask) -> bytes:
    # grpcio takes one `bytes` object only.
    return bytes(ask.body[0]) if len(ask.body) == 1 else b"".join(ask.body)


def _headers(pairs: Any) -> dict[str, str]:
    return {str(name): value for name, value in pairs or () if isinstance(value, str)}


def _failed(error: Any, address: Address) -> Reply:
    """What grpcio raised: a reply where the server spoke, an error where it did not."""
    code, text = error.code().value[0], str(error.details() or "")
    headers = _headers(error.trailing_metadata())
    if not headers and code == _DEADLINE_EXCEEDED:
        raise late() from error
    if not headers and (code == _UNAVAILABLE or text.startswith((_NO_GRPC, _BROKEN))):
        raise Unavailable(
            "server_away",
            f"No server answers at {address.url}: {text[:200]}. Start one, or give its address.",
            url=address.url,
        ) from error
    return Reply(code, headers, text.encode())
