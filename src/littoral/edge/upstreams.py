"""Which of this node's models its upstreams have too, found out again and again, since both sides change.

A model is shared where an upstream has one of the same name (and, if it tells, the same digest). A little model with a
calibration escalates to the upstreams that have its big one. What an upstream had it keeps while it does not answer:
that it is away is the breaker's to know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

from littoral.core.clock import Clock
from littoral.core.errors import Conflict, Expired, LittoralError, Unavailable
from littoral.core.request import InferAnswer
from littoral.edge.profiling import Profiling
from littoral.edge.settings import Bounds
from littoral.model.manifest import Manifest, read_manifest
from littoral.model.model import Model
from littoral.model.repository import Repository
from littoral.model.tasks.build import build_task
from littoral.monitor.log import log_of
from littoral.monitor.meters import Family
from littoral.monitor.tracing import Tracing
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.runtime.calibrating import CascadeFile, beside, read_cascade
from littoral.runtime.cascading import Cascade
from littoral.runtime.dividing import Dividing
from littoral.runtime.local_runs import LocalRuns
from littoral.runtime.peer import Caller, Peer
from littoral.runtime.placer import Placer
from littoral.runtime.placing_meters import families
from littoral.runtime.runtime import Runtime
from littoral.runtime.traced import TracedCaller, TracedRuns
from littoral.serve.client.answer import ModelFacts
from littoral.serve.client.tls import SYSTEM, ClientTls
from littoral.serve.upstream import Foreign, Upstream

_LOG = log_of("edge.upstreams")
ASK_S = 5.0
AGAIN_S, AGAIN_S_MAX = 2.0, 30.0
AWAY_AGAIN_S_MAX = 8.0  # while an upstream does not answer, or not at its preferred address
HOUR_S = 3600.0


Key = tuple[str, str]
"""A model's name and digest."""


class Matching:
    """Keeps a placer's picture of its upstreams; runs as one task beside the doors."""

    def __init__(
        self,
        urls: Sequence[str],
        runtime: Runtime,
        repository: Repository,
        *,
        clock: Clock,
        bounds: Bounds,
        folders: Sequence[Path],
        api_key: str | None = None,
        tls: ClientTls = SYSTEM,
        on_correction: Callable[[InferAnswer], None] | None = None,
        profiling: Profiling | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._upstreams = [Upstream(url, api_key=api_key, tls=tls, clock=clock) for url in urls]
        peers = [Peer(it.url, _called(it, tracing), clock=clock, chance=Random()) for it in self._upstreams]
        runs: LocalRuns = runtime if tracing is None else TracedRuns(runtime, tracing)
        self._runtime = runtime
        self._repository = repository
        self._folders = tuple(folders)
        self._bounds = bounds
        self._has: dict[str, frozenset[Key]] = {}
        self._away: set[str] = set()
        self._told: dict[tuple[str, ...], str] = {}
        self.placer = Placer(runs, peers, clock=clock, stands_by=bounds.stand_by, agreement_min=bounds.agreement_min)
        self.dividing = Dividing(runtime, clock=clock)
        self.placer.dividing = self.dividing
        self._profiling = profiling
        if profiling is not None:
            profiling.seen = self.dividing
        self.matched = asyncio.Event()
        if on_correction is not None:
            self.placer.corrections.listen(on_correction)

    def families(self) -> Iterator[Family]:
        """What placing counts and what is known of the upstreams, for whoever scrapes."""
        yield from families(self.placer)
        yield from self.dividing.families()
        yield from address_families(self._upstreams)

    def bound(self, bounds: Bounds) -> None:
        """Lets so much go up from now on; what was spent of the old allowances counts no more."""
        if bounds != self._bounds:
            self._bounds = bounds
            self.placer.cascades = {}

    async def run(self) -> None:
        """Matches for ever, less and less often while nothing changes."""
        wait_s = AGAIN_S
        while True:
            try:
                changed = await self.match()
            except Exception as error:  # noqa: BLE001 - the task must live on: the next time may go better
                self._tell(("matching",), f"Upstreams cannot be matched: {error!r}"[:300])
                changed = False
            self.matched.set()
            unwell = self._away or any(upstream.stands_in for upstream in self._upstreams)
            wait_s = AGAIN_S if changed else min(2 * wait_s, AWAY_AGAIN_S_MAX if unwell else AGAIN_S_MAX)
            await self._profiled(wait_s)

    async def _profiled(self, wait_s: float) -> None:
        """Waits so long, or until another profile is there."""
        if self._profiling is None:
            await asyncio.sleep(wait_s)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._profiling.news.wait(), wait_s)
        self._profiling.news.clear()

    async def match(self) -> bool:
        """Asks every upstream for every model that is served here; whether the picture changed."""
        rules: dict[str, CascadeFile] = {}
        wanted: dict[Key, Model | None] = {}
        for name in {name for name, _ in self._runtime.states()}:
            if not self._runtime.is_ready(name):
                continue
            model = self._runtime.find(name).model
            wanted[name, model.digest] = model
            rule = self._rule(model)
            if rule is not None:
                rules[name] = rule
        for rule in rules.values():
            wanted.setdefault((rule.big, rule.big_digest), None)
        await asyncio.gather(*(self._ask(upstream, wanted) for upstream in self._upstreams))
        changed = self._draw(rules, wanted)
        self._divide(wanted)
        return changed

    async def close(self) -> None:
        """Ends the connections."""
        await self.dividing.close()
        await self.placer.close()

    def _divide(self, wanted: Mapping[Key, Model | None]) -> None:
        """Offers to divide what is profiled here and held by a peer under the very same digest."""
        splits = {} if self._profiling is None else self._profiling.splits
        told = {upstream.url: upstream.digests for upstream in self._upstreams if upstream.knows_blocks}
        divided = []
        for (name, digest), model in wanted.items():
            peers = [one for one in self.placer.shared.get(name, ()) if told.get(one.name, {}).get(name) == digest]
            known = splits.get(digest)
            if model is not None and known is not None and known.rows and peers:
                self.dividing.offer(model, known, peers)
                divided.append(name)
        self.dividing.keep(divided)

    def _draw(self, rules: Mapping[str, CascadeFile], wanted: Mapping[Key, Model | None]) -> bool:
        """Gives the placer what is known now; whether that is anything new."""
        placer = self.placer
        shared = {key[0]: self._having(key) for key, model in wanted.items() if model is not None}
        shared = {name: peers for name, peers in shared.items() if peers and name not in rules}
        cascades = {name: self._cascade(name, rule) for name, rule in rules.items()}
        before = (placer.shared, {name: (id(one), one.peers) for name, one in placer.cascades.items()})
        for name, cascade in cascades.items():
            cascade.peers = self._having((rules[name].big, rules[name].big_digest))
        placer.shared, placer.cascades = shared, cascades
        return before != (shared, {name: (id(one), one.peers) for name, one in cascades.items()})

    def _having(self, key: Key) -> tuple[Peer, ...]:
        return tuple(peer for peer in self.placer.peers if key in self._has.get(peer.name, ()))

    def _cascade(self, name: str, rule: CascadeFile) -> Cascade:
        """The present cascade if it is the same, since it remembers its allowances and audits; else a new one."""
        calibration, present = rule.calibration(), self.placer.cascades.get(name)
        if present is not None and present.big == rule.big and present.calibration == calibration:
            return present
        bounds = self._bounds
        upload = bounds.upload_bytes_per_hour
        self._tell((name,), f"{name} escalates to {rule.big}, at most {rule.loss_max:.1%} of its answers lost.")
        return Cascade(
            rule.big,
            calibration,
            (),
            ShareAllowance(bounds.escalation_share),
            None if upload is None else TimedAllowance(upload / HOUR_S, upload),
            bounds.audit_share,
            rule.differ_max,
        )

    def _rule(self, model: Model) -> CascadeFile | None:
        """The calibration beside a model, if it is one for these very weights."""
        path = beside(self._repository.find(model.name)[-1])
        if not path.is_file():
            return None
        try:
            rule = read_cascade(path)
        except LittoralError as error:
            self._tell((model.name,), f"{path} is not used: {error.message}", warning=True)
            return None
        if rule.little_digest != model.digest:
            self._tell(
                (model.name,),
                f"{path} is not used: it is of other weights than {model.name} has. Run: littoral calibrate",
                warning=True,
            )
            return None
        return rule

    async def _ask(self, upstream: Upstream, wanted: Mapping[Key, Model | None]) -> None:
        """Finds out what one upstream has, or leaves what was known where it does not answer."""
        has: dict[Key, str] = {}
        try:
            await upstream.introduce(timeout_s=ASK_S)
            for key, model in wanted.items():
                digest = await self._match(upstream, key, model)
                if digest is not None:
                    has[key] = digest
        except LittoralError as error:
            self._away.add(upstream.url)
            self._tell((upstream.url,), f"Upstream {upstream.url} does not answer: {error.message}", warning=True)
            return
        self._away.discard(upstream.url)
        names = {name for name, _ in has}
        self._tell((upstream.url,), f"Upstream {upstream.url} has: {', '.join(sorted(names)) or 'nothing of ours'}.")
        self._has[upstream.url] = frozenset(has)
        upstream.digests = {name: digest for (name, _), digest in has.items() if digest}
        upstream.foreign = {name: one for name, one in upstream.foreign.items() if name in names}
        peer = next(peer for peer in self.placer.peers if peer.name == upstream.url)
        peer.as_tensors = frozenset(upstream.foreign)
        peer.opens = frozenset(upstream.digests) if upstream.knows_blocks else frozenset()

    async def _match(self, upstream: Upstream, key: Key, model: Model | None) -> str | None:
        """The digest that an upstream tells of a model ("": it tells none) if it is the same model; else None."""
        name, digest = key
        try:
            facts = await upstream.facts(name, timeout_s=ASK_S)
        except LittoralError as error:
            if isinstance(error, Unavailable | Expired) and error.code not in ("model_not_ready", "closing"):
                raise
            return None
        if facts is None:
            return None
        theirs = facts.parameters.get("digest", "")
        if theirs not in ("", digest):
            self._tell((upstream.url, name), f"Upstream {upstream.url} has another {name}; it is not asked for it.")
            return None
        if "task" in facts.parameters:
            upstream.foreign.pop(name, None)
            return str(theirs)
        return str(theirs) if self._speak_tensors(upstream, name, facts, model) else None

    def _speak_tensors(self, upstream: Upstream, name: str, facts: ModelFacts, model: Model | None) -> bool:
        """A server that knows no tasks: the task is made here, from the manifest and the server's own signature."""
        try:
            manifest = model.manifest if model is not None else self._manifest(name)
            if manifest is None:
                told = f"Upstream {upstream.url} takes {name} as tensors only. Put its model.toml beside yours."
                self._tell((upstream.url, name), told, warning=True)
                return False
            task = build_task(manifest, facts.inputs, facts.outputs)
            if model is not None and not _alike(model, facts):
                raise Conflict("signature_differs", "its tensors have other names or types.")
        except LittoralError as error:
            self._tell((upstream.url, name), f"Upstream {upstream.url} has another {name}: {error.message}")
            return False
        upstream.foreign[name] = Foreign(facts, task)
        self._tell((upstream.url, name), f"Upstream {upstream.url} takes {name} as tensors.")
        return True

    def _manifest(self, name: str) -> Manifest | None:
        """A manifest of a model that need not be here itself."""
        for folder in self._folders:
            path = folder / name / "model.toml"
            if path.is_file():
                return read_manifest(path)
        return None

    def _tell(self, topic: tuple[str, ...], sentence: str, *, warning: bool = False) -> None:
        """Says how a thing stands, once until it stands otherwise."""
        if self._told.get(topic) != sentence:
            self._told[topic] = sentence
            (_LOG.warning if warning else _LOG.info)(sentence)


def address_families(upstreams: Sequence[Upstream]) -> Iterator[Family]:
    """Over which of its addresses each upstream is asked."""
    rows = [((one.url, url), float(used)) for one in upstreams for url, used in one.addresses]
    told = "1 for the address of an upstream that is in use, else 0."
    yield Family("upstream_address", told, ("upstream", "address"), rows)


def _called(upstream: Upstream, tracing: Tracing | None) -> Caller:
    return upstream if tracing is None else TracedCaller(upstream, upstream.url, tracing)


def _alike(model: Model, facts: ModelFacts) -> bool:
    """Whether a model here and one elsewhere have tensors of the same names and types."""
    here = [(spec.name, spec.datatype) for spec in (*model.inputs, *model.outputs)]
    return sorted(here) == sorted((spec.name, spec.datatype) for spec in (*facts.inputs, *facts.outputs))
