"""Events, the desired state and blobs over HTTP: real sockets, real TLS, a link that breaks, a hub that is rude."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from starlette.responses import Response

from contract.flow_hub import FlowHub, digest_of, serving
from littoral.core.clock import RealClock
from littoral.core.desired import Desired, Document
from littoral.core.errors import Corrupt, Denied, Invalid, NotFound, Overloaded, Unavailable
from littoral.net.backoff import BackoffLimits
from littoral.net.batch import encode_batch
from littoral.net.desired import DesiredPoll, Following
from littoral.net.http import HttpTimes, HubHttp
from littoral.net.resume import Transfers
from littoral.net.sending import Sender
from littoral.net.shaper import ShapedLink
from littoral.net.shipping import Shipping, terms_of
from littoral.net.weather import Fault, Forecast, Weather
from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox
from littoral.store.rules import STREAMS

QUICK = BackoffLimits(first_s=0.05, pause_s_max=0.2)
SECONDS_MAX = 30.0


@asynccontextmanager
async def _shipping(outbox: Outbox, url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Shipping]:
    wire = HubHttp(url, tls=tls)
    sender = Sender(random.Random(1), terms=terms_of(STREAMS), backoff=QUICK)
    shipping = Shipping(sender, outbox, wire, site="press-7", clock=RealClock())
    quiet = outbox.listen(shipping.notify)
    running = asyncio.ensure_future(shipping.run())
    try:
        yield shipping
    finally:
        quiet()
        running.cancel()
        [end] = await asyncio.gather(running, return_exceptions=True)
        await wire.close()
        assert isinstance(end, asyncio.CancelledError), end


async def _until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not there():
            await asyncio.sleep(0.01)


def _sequences(hub: FlowHub, stream: str) -> list[int]:
    return [number for e in hub.applied if e.stream == stream for number in range(e.sequence, e.last + 1)]


def _run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), SECONDS_MAX))


def test_what_is_put_reaches_the_hub_once_and_in_order_and_frees_the_outbox(tmp_path: Path) -> None:
    # given a store and a hub that forgets to answer now and then
    hub = FlowHub(tmp_path)
    hub.forgets_answers = 2

    async def work() -> None:
        with serving(hub) as port, Outbox(tmp_path / "outbox", site="press-7") as outbox:
            async with _shipping(outbox, f"http://127.0.0.1:{port}") as shipping:
                # when events are put while it ships
                for number in range(200):
                    await outbox.put_async("result", "inference", b'{"n": %d}' % number)
                await shipping.drained()

    _run(work)

    # then the hub has each once and in order
    assert _sequences(hub, "result") == list(range(1, 201))


def test_shipping_that_was_broken_off_goes_on_where_it_is_begun_again(tmp_path: Path) -> None:
    # given shipping that ended with a batch under way
    hub = FlowHub(tmp_path)

    async def work() -> None:
        with serving(hub) as port, Outbox(tmp_path / "outbox", site="press-7") as outbox:
            wire = HubHttp(f"http://127.0.0.1:{port}", tls=None)
            sender = Sender(random.Random(1), terms=terms_of(STREAMS), backoff=QUICK)
            shipping = Shipping(sender, outbox, wire, site="press-7", clock=RealClock())
            await outbox.put_async("audit", "login", b"1")
            running = asyncio.ensure_future(shipping.run())
            while not sender.under_way:  # it lasts a few turns of the loop only
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

            # when it is begun again
            running = asyncio.ensure_future(shipping.run())
            await shipping.drained()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await wire.close()

    _run(work)

    # then the event took effect once
    assert _sequences(hub, "audit") == [1]


def test_a_hub_that_is_away_costs_nothing_but_time(tmp_path: Path) -> None:
    # given a hub whose port is known and which is not there
    hub = FlowHub(tmp_path)
    with serving(hub) as port:
        pass

    async def work() -> None:
        with Outbox(tmp_path / "outbox", site="press-7") as outbox:
            async with _shipping(outbox, f"http://127.0.0.1:{port}") as shipping:
                for number in range(50):
                    await outbox.put_async("audit", "login", b"%d" % number)
                await _until(lambda: shipping.sender.counts.failures.get("hub_unreachable", 0) >= 2)
                assert hub.applied == []

                # when it comes, then all is delivered
                with serving(hub, port=port):
                    await shipping.drained()
                assert shipping.sender.backoff.failures == 0

    _run(work)
    assert _sequences(hub, "audit") == list(range(1, 51))


def test_a_link_that_flaps_loses_and_repeats_nothing(tmp_path: Path) -> None:
    # given a link that works for a second and breaks every connection for the next
    hub = FlowHub(tmp_path)
    forecast = Forecast(Weather(4e5, 0.01), fault=Fault.DROP, flap_s=0.5)

    async def work() -> None:
        with serving(hub) as port, Outbox(tmp_path / "outbox", site="press-7") as outbox:
            link = ShapedLink("127.0.0.1", port, forecast)
            await link.start()
            async with _shipping(outbox, f"http://127.0.0.1:{link.port}") as shipping:
                # when a megabyte of events crosses it
                noise = random.Random(4)
                outbox.put_many([("result", "inference", noise.randbytes(2000)) for _ in range(500)])
                await shipping.drained()
            await link.stop()

    _run(work)

    # then the hub has each once and in order
    assert _sequences(hub, "result") == list(range(1, 501))


def test_a_hub_that_asks_for_patience_gets_it_and_one_that_denies_is_not_pressed(tmp_path: Path) -> None:
    # given a hub that first is busy for a second, then denies
    hub = FlowHub(tmp_path)
    hub.refusals = [
        Response('{"error": "busy", "code": "busy", "retry_after_ms": 700}', 429),
        Response('{"error": "revoked", "code": "site_revoked"}', 403),
    ]

    async def work() -> None:
        with serving(hub) as port, Outbox(tmp_path / "outbox", site="press-7") as outbox:
            async with _shipping(outbox, f"http://127.0.0.1:{port}") as shipping:
                # when an event waits
                began_s = asyncio.get_running_loop().time()
                await outbox.put_async("audit", "login", b"1")
                await _until(lambda: "site_revoked" in shipping.sender.counts.failures)

                # then it was sent again no sooner than asked, and after the denial not at all for a while
                assert asyncio.get_running_loop().time() - began_s >= 0.7
                assert shipping.sender.backoff.until_s - RealClock.monotonic_s() > 50
                assert len(outbox.logs()) == 1
                assert hub.requests == ["events", "events"]

    _run(work)


def test_events_cross_mutual_tls_and_a_certificate_of_another_authority_does_not(tmp_path: Path) -> None:
    # given a hub that wants a certificate of its authority
    ours, foreign = trustme.CA(), trustme.CA()
    server, client, stranger = ours.issue_cert("127.0.0.1"), ours.issue_cert("press-7"), foreign.issue_cert("press-7")
    names = []
    for index, blob in enumerate((server.cert_chain_pems[0], server.private_key_pem, ours.cert_pem)):
        path = tmp_path / f"{index}.pem"
        blob.write_to_path(path)
        names.append(str(path))

    def context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        made = ssl.create_default_context()
        made.minimum_version = ssl.TLSVersion.TLSv1_3
        ours.configure_trust(made)
        certificate.configure_cert(made)
        return made

    hub = FlowHub(tmp_path)

    async def work() -> None:
        with serving(hub, tls=(names[0], names[1], names[2])) as port:
            with Outbox(tmp_path / "outbox", site="press-7") as outbox:
                await outbox.put_async("audit", "login", b"1")
                async with _shipping(outbox, f"https://127.0.0.1:{port}", context(client)) as shipping:
                    # when the site sends, then it arrives, also on the connection after a renewal
                    await shipping.drained()
            for tls in (context(stranger), ssl.create_default_context()):
                wire = HubHttp(f"https://127.0.0.1:{port}", tls=tls)
                with pytest.raises(Unavailable):
                    await wire.send(encode_batch("press-7", ()))
                await wire.close()
            wire = HubHttp(f"https://127.0.0.1:{port}", tls=context(client))
            await wire.report(b"{}")
            await wire.renew()
            await wire.report(b"{}")
            await wire.close()

    _run(work)
    assert _sequences(hub, "audit") == [1]
    assert len(hub.reported) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (Response('{"error": "no", "code": "batch_wrong"}', 400), Invalid, "batch_wrong"),
        (Response("<html>too large</html>", 413), Invalid, "body_too_large"),
        (Response('{"error": "who", "code": "not_named"}', 401), Denied, "not_named"),
        (Response("nginx", 404), NotFound, "hub_refused"),
        (Response("nginx", 503, headers={"Retry-After": "7"}), Unavailable, "hub_refused"),
        (Response('{"code": "Rm -rf"}', 429), Overloaded, "hub_refused"),
        (Response("moved", 302, headers={"Location": "http://elsewhere/"}), Unavailable, "hub_refused"),
        (Response("not json", 200), Unavailable, "answer_unreadable"),
        (Response(b" " * 2**20, 200), Unavailable, "answer_unreadable"),
    ],
    ids=lambda value: value.status_code if isinstance(value, Response) else "",
)
def test_every_answer_of_a_hub_or_proxy_is_a_receipt_or_one_of_our_errors(
    tmp_path: Path, answer: Response, kind: type[Exception], code: str
) -> None:
    hub = FlowHub(tmp_path)
    hub.refusals = [answer]

    async def work() -> None:
        with serving(hub) as port:
            wire = HubHttp(f"http://127.0.0.1:{port}", tls=None)
            with pytest.raises(kind) as refused:
                await wire.send(encode_batch("press-7", ()))
            await wire.close()
            assert getattr(refused.value, "code", "") == code
            if answer.headers.get("retry-after"):
                assert getattr(refused.value, "context", {})["retry_after_ms"] == 7000

    _run(work)


def test_a_hub_that_takes_the_connection_and_says_nothing_is_given_up_on() -> None:
    # given a listener that never answers
    taken: list[asyncio.StreamWriter] = []

    async def work() -> None:
        server = await asyncio.start_server(lambda _reader, writer: taken.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        wire = HubHttp(f"http://127.0.0.1:{port}", tls=None, times=HttpTimes(silence_s=0.3))

        # when it is asked
        with pytest.raises(Unavailable) as refused:
            await wire.send(b"x")
        await wire.close()
        server.close()
        for writer in taken:
            writer.transport.abort()

        # then that is said in time
        assert refused.value.code == "hub_silent"

    _run(work)


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("http://hub:8443", "https://", "hub:8443", "https://hub:8443/path"):
        with pytest.raises(Invalid):
            HubHttp(url, tls=ssl.create_default_context())


def test_what_is_desired_arrives_when_it_changes_and_survives_a_restart_of_the_hub(tmp_path: Path) -> None:
    # given a site that follows a hub
    hub, seen = FlowHub(tmp_path), []

    async def apply(desired: Desired) -> None:
        seen.append(desired)

    def state(version: int) -> Desired:
        return Desired(version, (Document("model", "inspect", version, b'{"version":%d}' % version),))

    async def work() -> None:
        with serving(hub) as port:
            wire = HubHttp(f"http://127.0.0.1:{port}", tls=None)
            poll = DesiredPoll(random.Random(1), limits=QUICK)
            running = asyncio.ensure_future(Following(poll, wire, apply, clock=RealClock(), wait_s=5).run())

            # when it changes twice, and changes again while the hub is away
            for version in (1, 2):
                hub.desired = state(version)
                await _until(lambda version=version: len(seen) == version)  # type: ignore[misc]
        await _until(lambda: poll.counts.failures > 0)
        hub.desired = state(3)
        with serving(hub, port=port):
            await _until(lambda: len(seen) == 3)

            # then each came once; and a hub that was set back to an older state is followed, too
            hub.desired = state(1)
            await _until(lambda: len(seen) == 4)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await wire.close()

    _run(work)
    assert seen == [state(1), state(2), state(3), state(1)]


def test_a_blob_comes_down_over_a_link_that_is_cut_and_next_to_nothing_crosses_twice(tmp_path: Path) -> None:
    # given four megabytes at the hub, and a link that breaks again and again
    content = random.Random(9).randbytes(4_000_000)
    hub = FlowHub(tmp_path)
    (tmp_path / digest_of(content)).write_bytes(content)
    blobs = Blobs(tmp_path / "blobs", 10_000_000)

    async def work() -> None:
        with serving(hub) as port:
            link = ShapedLink("127.0.0.1", port, Forecast(Weather(4e6, 0.002), fault=Fault.DROP, flap_s=0.2))
            await link.start()
            wire = HubHttp(f"http://127.0.0.1:{link.port}", tls=None)
            transfers = Transfers(wire, clock=RealClock(), chance=random.Random(1), backoff=QUICK)

            # when it is fetched
            carried = await transfers.fetch(blobs, digest_of(content), len(content))
            again = await transfers.fetch(blobs, digest_of(content), len(content))
            await wire.close()
            await link.stop()

            # then it took several attempts, and what had arrived stayed
            assert carried.attempts >= 3
            assert carried.repeated_bytes <= 0.02 * len(content)
            assert again.bytes == 0

    _run(work)
    assert blobs.read(digest_of(content), 0, len(content)) == content


def test_a_blob_that_is_not_what_its_digest_says_is_never_kept(tmp_path: Path) -> None:
    # given a hub whose file is damaged, one that lies about the size, and one without it
    content = b"weights" * 1000
    hub = FlowHub(tmp_path)
    (tmp_path / digest_of(content)).write_bytes(content[:-1] + b"!")
    blobs = Blobs(tmp_path / "blobs", 10_000_000)

    async def work() -> None:
        with serving(hub) as port:
            wire = HubHttp(f"http://127.0.0.1:{port}", tls=None)
            transfers = Transfers(wire, clock=RealClock(), chance=random.Random(1), backoff=QUICK)

            # when they are fetched, then each is an error that says so
            for size, digest, kind in (
                (len(content), digest_of(content), Corrupt),
                (len(content) + 1, digest_of(content), Corrupt),
                (5, digest_of(b"other"), NotFound),
            ):
                with pytest.raises(kind):
                    await transfers.fetch(blobs, digest, size)
                assert digest not in blobs
            await wire.close()

    _run(work)


def test_a_blob_goes_up_over_a_link_that_is_cut(tmp_path: Path) -> None:
    # given two megabytes here, and a link that breaks again and again
    content = random.Random(9).randbytes(2_000_000)
    hub = FlowHub(tmp_path)

    async def work() -> None:
        with serving(hub) as port:
            link = ShapedLink("127.0.0.1", port, Forecast(Weather(2e6, 0.002), fault=Fault.DROP, flap_s=0.3))
            await link.start()
            wire = HubHttp(f"http://127.0.0.1:{link.port}", tls=None)
            transfers = Transfers(wire, clock=RealClock(), chance=random.Random(1), backoff=QUICK)

            # when it is offered
            carried = await transfers.offer(
                digest_of(content), len(content), lambda offset, count: content[offset : offset + count]
            )
            await wire.close()
            await link.stop()

            # then it arrived whole
            assert carried.attempts >= 2

    _run(work)
    assert [path.read_bytes() for size, path in hub.uploads.values() if path.stat().st_size == size] == [content]
