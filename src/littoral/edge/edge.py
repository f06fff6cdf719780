"""A site: a node that serves, with a hub as its upstream, a twin to live by, and events that get there in the end.

    edge = Edge(EdgeSettings(folder))
    edge.hear_signals()
    await edge.start()
    await edge.run_until_stopped()

Nothing here waits for the hub. What the folder holds is served first; then the ways to the hub are opened, and each
goes on for itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from littoral.core.clock import RealClock
from littoral.core.errors import LittoralError, Plain
from littoral.core.version import VERSION
from littoral.edge.appliers import REVOKED, RevokedApplier, ValueApplier, bounds_of
from littoral.edge.condition import Condition
from littoral.edge.edge_settings import HUB_HTTP_PORT, OUTBOX, EdgeSettings
from littoral.edge.membership import Joined, membership_of
from littoral.edge.model_applier import ModelApplier
from littoral.edge.node import Node, Standing
from littoral.edge.releases import Releases
from littoral.edge.results import Results
from littoral.edge.samples import Samples
from littoral.edge.settings import NodeSettings
from littoral.edge.telemetry import Telemetry
from littoral.edge.uplink import Uplink
from littoral.fleet.agent import Agent
from littoral.fleet.memory import FileMemory
from littoral.fleet.site_settings import CONFIGURATION, LIMITS, Configuration, Limits
from littoral.fleet.twin import Report
from littoral.identity.sealing import Sealing
from littoral.model.release import DOCUMENT_KIND
from littoral.monitor.log import log_of
from littoral.monitor.tracing import Tracing
from littoral.net.mqtt_session import Broker
from littoral.net.pacing import read_metering
from littoral.serve.client.tls import ClientTls
from littoral.serve.mqtt_door import MqttDoor
from littoral.store.blobs import Blobs
from littoral.store.outbox import Outbox

_LOG = log_of("edge")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class EdgeStanding:
    """An edge that serves: its node's doors, and the hub that it belongs to."""

    node: Standing
    hub: str


class Edge:
    """Started once, stopped once, on one event loop."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self._closing = AsyncExitStack()
        self._outbox: Outbox | None = None
        self.uplink: Uplink | None = None
        self.agent: Agent | None = None

    async def start(self) -> EdgeStanding:
        """Serves what the folder holds, then opens the ways to the hub; needs no hub. Raises `NotFound` where the site
        never joined one. Whatever is raised, nothing is left running.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    def hear_signals(self) -> None:
        """Lets SIGTERM and SIGINT stop this edge in order; a second signal waits for nobody. Main thread only."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    async def run_until_stopped(self) -> None:
        """Waits for `request_stop`, or for a signal if those are heard, then stops."""
        await self._stopping.wait()
        await self.stop()

    def request_stop(self) -> None:
        """Lets `run_until_stopped` go on to stop."""
        self._stopping.set()

    async def stop(self) -> None:
        """Closes the doors, answers requests in flight, and lets go of the folder."""
        await self._closing.aclose()

    async def _start(self) -> EdgeStanding:
        settings, closing, clock = self._settings, self._closing, RealClock()
        joined = await asyncio.to_thread(membership_of, settings.folder)
        hub = settings.hub or joined.membership.hub
        releases = Releases(settings.folder)
        await asyncio.to_thread(releases.open)
        outbox = self._outbox = await asyncio.to_thread(self._open_outbox, joined)
        closing.push_async_callback(asyncio.to_thread, outbox.close)
        results = Results(
            outbox.submit,
            share=settings.results_share,
            durable=settings.results_durable,
            samples=Samples(every_s=settings.explain_every_s, pictures=settings.pictures, clock=clock),
        )
        node = Node(self._node_settings(joined, hub, releases, results))
        closing.push_async_callback(node.stop, grace_s=settings.grace_s)
        standing = await node.start()
        blobs = await asyncio.to_thread(Blobs, settings.folder / "blobs", settings.blobs_bytes_max)
        uplink = self.uplink = Uplink(
            joined,
            outbox,
            blobs,
            hub=hub,
            clock=clock,
            report_every_s=settings.report_every_s,
            metering=read_metering(settings.metered),
            tell=self._tell,
            broker=Broker.parse(settings.hub_mqtt) if settings.hub_mqtt else None,
        )
        closing.push_async_callback(uplink.close)
        models = ModelApplier(node.runtime, releases, uplink.blobs, on_switch=lambda _release: node.look_upstream())
        await models.restore()
        condition = Condition(node, outbox, results)
        telemetry = Telemetry(
            outbox.submit, node.runtime, clock=clock, every_s=settings.telemetry_every_s, more=condition.read
        )
        agent = self.agent = Agent(
            self._appliers(joined, models, node, results, telemetry),
            FileMemory(settings.folder / "agent.json"),
            clock=clock,
            facts=lambda: {"version": VERSION, "interval_s": uplink.report_every_s},
            on_change=self._changed,
        )
        closing.push_async_callback(agent.close)
        await agent.restore()
        if settings.mqtt:
            await self._open_mqtt(node, outbox)
        node.meters.watch(uplink.families)
        self._tell("site_started", {"version": VERSION})
        await uplink.start(agent)
        telling = asyncio.get_running_loop().create_task(telemetry.run())
        closing.callback(telling.cancel)
        return EdgeStanding(standing, hub)

    def _open_outbox(self, joined: Joined) -> Outbox:
        folder = self._settings.folder
        seal = Sealing.of_folder(folder / "identity", purpose="outbox")
        return Outbox(
            folder / OUTBOX, site=joined.membership.site, bytes_max=self._settings.outbox_bytes_max, seal=seal
        )

    def _node_settings(self, joined: Joined, hub: str, releases: Releases, results: Results) -> NodeSettings:
        settings = self._settings
        beside = () if settings.hub_mqtt else (f"https://{_host(hub)}:{HUB_HTTP_PORT}",)
        upstreams = () if settings.upstreams is None else settings.upstreams or beside
        return NodeSettings(
            paths=(releases.models, *settings.paths),
            host=settings.host,
            http_port=settings.http_port,
            grpc_port=settings.grpc_port,
            threads=settings.threads,
            workers=settings.workers,
            models_bytes_max=settings.models_bytes_max,
            api_key_file=settings.api_key_file,
            upstreams=upstreams,
            upstream_tls=ClientTls(context=joined.identity.client_context()),
            bounds=settings.bounds,
            on_correction=results.correct,
            observer=results,
            may_be_empty=True,
            site=joined.membership.site,
            grace_s=settings.grace_s,
            drift_every_s=settings.drift_every_s,
            tracing=Tracing.from_environment(joined.membership.site) if settings.trace else None,
        )

    def _appliers(
        self, joined: Joined, models: ModelApplier, node: Node, results: Results, telemetry: Telemetry
    ) -> Mapping[str, ModelApplier | RevokedApplier | ValueApplier]:
        settings, uplink = self._settings, self.uplink
        assert uplink is not None, "the uplink comes first"

        async def bound(limits: Limits) -> None:
            await node.bound(bounds_of(limits, settings.bounds))

        async def configure(told: Configuration) -> None:
            results.share = settings.results_share if told.results_share is None else told.results_share
            telemetry.every_s = told.telemetry_every_s or settings.telemetry_every_s
            uplink.report_every_s = told.report_every_s or settings.report_every_s
            uplink.meter(read_metering(settings.metered if told.metered is None else told.metered))

        return {
            DOCUMENT_KIND: models,
            REVOKED: RevokedApplier(joined.identity.revoke),
            LIMITS: ValueApplier(Limits, bound),
            CONFIGURATION: ValueApplier(Configuration, configure),
        }

    async def _open_mqtt(self, node: Node, outbox: Outbox) -> None:
        settings = self._settings
        memory = settings.folder / "readings.seen"
        door = MqttDoor(node.plane, Broker.parse(settings.mqtt), keep=outbox.put_async, memory=memory)
        await door.start()
        self._closing.push_async_callback(door.close)
        node.meters.watch(door.families)

    def _changed(self, report: Report) -> None:
        kind = f"{report.kind}_{report.state}"
        told: dict[str, Plain] = {"name": report.name, "version": report.version, "serving": report.serving}
        if report.code:
            told |= {"code": report.code, "reason": report.message}
        self._tell(kind, told)

    def _tell(self, kind: str, facts: Mapping[str, Plain]) -> None:
        """An audit event; where it cannot be stored, the log has it."""
        assert self._outbox is not None, "the outbox comes first"
        try:
            self._outbox.submit([("audit", kind, msgspec.json.encode(facts))])
        except LittoralError as error:
            _LOG.error("An audit event is not recorded.", kind=kind, code=error.code)

    def _signalled(self, number: signal.Signals) -> None:
        loop = asyncio.get_running_loop()
        for each in _STOP_SIGNALS:
            loop.remove_signal_handler(each)
        _LOG.info("Stopping: requests in flight are answered first.", signal=number.name)
        self._stopping.set()


def _host(hub: str) -> str:
    host = urlsplit(hub).hostname or ""
    return f"[{host}]" if ":" in host else host
