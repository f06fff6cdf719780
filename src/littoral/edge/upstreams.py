"""Which of this node's models its upstreams have too, found out again and again, since both sides change.

A model is shared where an upstream has one of the same name (and, if it tells, the same digest). A little model with a
calibration escalates to the upstreams that have its big one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from littoral.core.clock import Clock
from littoral.core.errors import LittoralError
from littoral.edge.settings import Bounds
from littoral.model.manifest import Manifest, read_manifest
from littoral.model.model import Model
from littoral.model.repository import Repository
from littoral.model.tasks.build import build_task
from littoral.monitor.log import log_of
from littoral.plan.allowance import ShareAllowance, TimedAllowance
from littoral.runtime.calibrating import FILE_NAME, CascadeFile, read_cascade
from littoral.runtime.cascading import Cascade
from littoral.runtime.peer import Peer
from littoral.runtime.placer import Placer
from littoral.runtime.runtime import Runtime
from littoral.serve.client.answer import ModelFacts
from littoral.serve.upstream import Upstream

_LOG = log_of("edge.upstreams")
ASK_S = 5.0
AGAIN_S, AGAIN_S_MAX = 2.0, 60.0
HOUR_S = 3600.0


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
    ) -> None:
        self._upstreams = [Upstream(url, api_key=api_key) for url in urls]
        self._peers = [Peer(upstream.url, upstream, clock=clock) for upstream in self._upstreams]
        self._runtime = runtime
        self._repository = repository
        self._folders = tuple(folders)
        self._bounds = bounds
        self._told: set[str] = set()
        self.placer = Placer(runtime, self._peers, clock=clock)
        self.matched = asyncio.Event()

    async def run(self) -> None:
        """Matches for ever, less and less often while nothing changes."""
        wait_s = AGAIN_S
        while True:
            changed = await self.match()
            self.matched.set()
            wait_s = AGAIN_S if changed else min(2 * wait_s, AGAIN_S_MAX)
            await asyncio.sleep(wait_s)

    async def match(self) -> bool:
        """Asks every upstream for every model that is served here; whether the picture changed."""
        shared: dict[str, tuple[Peer, ...]] = {}
        cascades: dict[str, tuple[CascadeFile, tuple[Peer, ...]]] = {}
        for name in {name for name, _ in self._runtime.states()}:
            if not self._runtime.is_ready(name):
                continue
            model = self._runtime.find(name).model
            rule = self._rule(model)
            if rule is not None:
                peers = await self._having(rule.big, rule.big_digest, None)
                if peers:
                    cascades[name] = (rule, peers)
                    continue
            peers = await self._having(name, model.digest, model)
            if peers:
                shared[name] = peers
        changed = shared != self.placer.shared or set(cascades) != set(self.placer.cascades)
        self.placer.shared = shared
        self.placer.cascades = {name: self._cascade(name, rule, peers) for name, (rule, peers) in cascades.items()}
        return changed

    async def close(self) -> None:
        """Ends the connections."""
        await self.placer.close()

    def _cascade(self, name: str, rule: CascadeFile, peers: tuple[Peer, ...]) -> Cascade:
        """The present cascade if it is the same, since it remembers its allowances and audits; else a new one."""
        present = self.placer.cascades.get(name)
        if present is not None and present.calibration == rule.calibration():
            present.peers = peers
            return present
        bounds = self._bounds
        upload = bounds.upload_bytes_per_hour
        self._tell(f"{name} escalates to {rule.big}, at most {rule.loss_max:.1%} of its answers lost.")
        return Cascade(
            rule.big,
            rule.calibration(),
            peers,
            ShareAllowance(bounds.escalation_share),
            None if upload is None else TimedAllowance(upload / HOUR_S, upload),
            bounds.audit_share,
        )

    def _rule(self, model: Model) -> CascadeFile | None:
        """The calibration beside a model, if it is one for these very weights."""
        source = self._repository.find(model.name)[-1]
        folder = source.manifest_path.parent if source.manifest_path is not None else source.path.parent
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            rule = read_cascade(path)
        except LittoralError as error:
            self._tell(f"{path} is not used: {error.message}")
            return None
        if rule.little_digest != model.digest:
            self._tell(f"{path} is of other weights than {model.name} has. Run: littoral calibrate")
            return None
        return rule

    async def _having(self, name: str, digest: str, model: Model | None) -> tuple[Peer, ...]:
        """The upstreams that have a model and, as far as they tell, the same one."""
        asked = [self._has(upstream, name, digest, model) for upstream in self._upstreams]
        found = await asyncio.gather(*asked)
        return tuple(peer for peer, has in zip(self._peers, found, strict=True) if has)

    async def _has(self, upstream: Upstream, name: str, digest: str, model: Model | None) -> bool:
        try:
            facts = await upstream.facts(name, timeout_s=ASK_S)
        except LittoralError as error:
            self._tell(f"Upstream {upstream.url} does not answer: {error.message}")
            return False
        if facts is None:
            return False
        theirs = facts.parameters.get("digest")
        if theirs is not None and theirs != digest:
            self._tell(f"Upstream {upstream.url} has another {name} ({theirs}); it is not asked for it.")
            return False
        if "task" not in facts.parameters:
            return self._speak_tensors(upstream, name, facts, model)
        self._tell(f"Upstream {upstream.url} has {name}.")
        return True

    def _speak_tensors(self, upstream: Upstream, name: str, facts: ModelFacts, model: Model | None) -> bool:
        """A server that knows no tasks: the task is made here, from the manifest and the server's own signature."""
        manifest = model.manifest if model is not None else self._manifest(name)
        if manifest is None:
            self._tell(f"Upstream {upstream.url} takes {name} as tensors only. Put its model.toml beside yours.")
            return False
        try:
            task = build_task(manifest, facts.inputs, facts.outputs)
        except LittoralError as error:
            self._tell(f"Upstream {upstream.url} has another {name}: {error.message}")
            return False
        if task is not None:
            upstream.tasks[name] = (task, facts)
        self._tell(f"Upstream {upstream.url} has {name}, and takes tensors.")
        return True

    def _manifest(self, name: str) -> Manifest | None:
        """A manifest of a model that need not be here itself."""
        for folder in self._folders:
            path = folder / name / "model.toml"
            if path.is_file():
                return read_manifest(path)
        return None

    def _tell(self, sentence: str) -> None:
        """Says something once."""
        if sentence not in self._told:
            self._told.add(sentence)
            _LOG.info(sentence)
