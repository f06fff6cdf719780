"""A site's agent: brings the site to what is desired, document by document, and says how each stands.

It is handed appliers, one for each kind of document, and knows none of them. Each document goes its own way: one that
fails or takes long holds up no other. The latest wins: a document that changes while it is applied is begun anew. What
was applied is remembered across restarts, and so is what was begun and never ended, so that a document that kills the
process does not do so again and again at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from littoral.core.clock import Clock
from littoral.core.desired import Desired, Document
from littoral.core.errors import (
    Conflict,
    Corrupt,
    Expired,
    Invalid,
    LittoralError,
    NotFound,
    Overloaded,
    Plain,
    Unavailable,
)
from littoral.fleet.memory import Memory, Remembered
from littoral.fleet.twin import APPLIED, APPLYING, FAILED, MESSAGE_LENGTH_MAX, Key, Report, Reported
from littoral.monitor.log import log_of

_LOG = log_of("fleet.agent")
AT_ONCE_MAX = 4
AGAIN_S, AGAIN_S_MAX = 1.0, 300.0
BROKEN_TRIES_FREE = 2
PASSING = (Unavailable, Overloaded, Expired, Conflict, NotFound)


class Applier(Protocol):
    """Makes the site live by documents of one kind. Applying twice what was applied once changes nothing.

    Either call may be broken off at any point, by cancelling or by the death of the process, and is then made again.
    """

    def holds(self, name: str) -> bool:
        """Whether what was applied under this name still is in force; asked at each start, and applied again if not."""
        ...

    async def apply(self, document: Document) -> None:
        """Returns when the document is in force. Raises `LittoralError`; then what was in force before still is."""
        ...

    async def remove(self, name: str) -> None:
        """Takes out of force what bore this name, if anything does."""
        ...


class Agent:
    """One site's; used from one event loop. `restore` first, then `desire` whenever something new is desired."""

    def __init__(
        self,
        appliers: Mapping[str, Applier],
        memory: Memory,
        *,
        clock: Clock,
        chance: Random | None = None,
        facts: Callable[[], Mapping[str, Plain]] = dict,
        on_change: Callable[[Report], None] = lambda _report: None,
    ) -> None:
        """`facts` are asked for with each report; `on_change` is told of each document that was applied or failed."""
        self.news = asyncio.Event()
        self._appliers = dict(appliers)
        self._memory = memory
        self._clock = clock
        self._chance = chance or Random()
        self._facts = facts
        self._on_change = on_change
        self._desired = Desired(0, ())
        self._wanted: dict[Key, Document] = {}
        self._reports: dict[Key, Report] = {}
        self._begun: dict[Key, int] = {}
        self._version = 0
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._saving = asyncio.Lock()

    @property
    def desired_version(self) -> int:
        """The version of what is desired, as far as this site knows."""
        return self._desired.version

    @property
    def settled(self) -> bool:
        """Whether nothing is being applied or waits to be."""
        return not self._tasks

    def reported(self) -> Reported:
        """What the site says of itself now; `news` is set whenever that is new."""
        reports = tuple(self._reports[key] for key in sorted(self._reports))
        return Reported(self._version, self._desired.version, reports, dict(self._facts()))

    async def restore(self) -> None:
        """Takes up what was remembered: what holds is left alone, what does not or was not done is begun."""
        try:
            remembered = await self._memory.load()
        except Corrupt as error:  # all of it comes again from the hub, and what was applied still holds
            _LOG.error("The agent's memory is lost.", reason=error.message)
            remembered = Remembered()
        self._version = remembered.version
        self._reports = {report.key: report for report in remembered.reports}
        self._begun = {(kind, name): tries for kind, name, tries in remembered.begun}
        self._want(remembered.desired)
        for key in sorted(self._wanted.keys() | self._reports.keys()):
            applier = self._appliers.get(key[0])
            if not self._done(key) or (key in self._wanted and applier is not None and not applier.holds(key[1])):
                self._start(key)
        self._changed()

    async def desire(self, desired: Desired) -> None:
        """What the site should live by from now on; returns when that is remembered, not when it is so."""
        if desired == self._desired:
            return
        before = self._wanted
        self._want(desired)
        for key in sorted(before.keys() | self._wanted.keys() | self._reports.keys()):
            if before.get(key) != self._wanted.get(key) and not self._done(key):
                self._start(key)
        self._changed()
        await self._remember()

    async def close(self) -> None:
        """Breaks off what is being applied."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _want(self, desired: Desired) -> None:
        self._desired = desired
        self._wanted = {(document.kind, document.name): document for document in desired.documents}

    def _done(self, key: Key) -> bool:
        """Whether a document is in force as desired, or gone as desired."""
        document, report = self._wanted.get(key), self._reports.get(key)
        if document is None or report is None:
            return document is None and report is None
        return report.state == APPLIED and report.version == report.serving == document.version

    def _start(self, key: Key) -> None:
        """Begins what a document now needs, once what was begun for it has ended."""
        before = self._tasks.get(key)
        if before is not None:
            before.cancel()
        task = asyncio.get_running_loop().create_task(self._follow(key, before))
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._ended(key, done))

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
            self._changed()
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("A document was given up.", kind=key[0], name=key[1], reason=repr(task.exception())[:300])

    async def _follow(self, key: Key, before: asyncio.Task[None] | None) -> None:
        """One document, tried again for as long as its failure may pass."""
        if before is not None:
            await asyncio.gather(before, return_exceptions=True)
        wait_s = AGAIN_S
        broken = self._begun.get(key, 0) - BROKEN_TRIES_FREE
        if broken > 0:  # whoever died with it may die again: let the site work in between
            await asyncio.sleep(min(30.0 * 2.0**broken, 3600.0) * self._chance.uniform(0.5, 1.0))
        while not await self._attempt(key):
            await asyncio.sleep(wait_s * self._chance.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, AGAIN_S_MAX)

    async def _attempt(self, key: Key) -> bool:
        """Applies or removes one document; False where it failed and may go well later."""
        document = self._wanted.get(key)
        old = self._reports.get(key)
        serving = old.serving if old is not None else 0
        version = document.version if document is not None else serving
        error: LittoralError | None = None
        async with self._turns:
            self._begun[key] = self._begun.get(key, 0) + 1
            if old is None or (old.state, old.version) != (FAILED, version):
                self._say(Report(*key, version, APPLYING, serving))
            await self._remember()
            try:
                await self._do(key, document)
            except LittoralError as failure:
                error = failure
            except Exception as failure:  # noqa: BLE001 - an applier's own fault must not stop the others
                _LOG.error("An applier failed.", kind=key[0], name=key[1], reason=repr(failure)[:300])
                error = Corrupt("apply_failed", f"It cannot be applied: {failure!r}")
            finally:
                # Cancelled is not broken: only a process that died in here leaves the mark.
                self._begun.pop(key, None)
        if error is None and document is None:
            self._reports.pop(key, None)
            self._changed()
        elif error is None:
            self._say(Report(*key, version, APPLIED, version))
            _LOG.info("Applied.", kind=key[0], name=key[1], version=version)
        else:
            self._say(Report(*key, version, FAILED, serving, error.code, error.message[:MESSAGE_LENGTH_MAX]))
            _LOG.warning("Not applied.", kind=key[0], name=key[1], version=version, reason=error.message)
        await self._remember()
        return error is None or not isinstance(error, PASSING)

    async def _do(self, key: Key, document: Document | None) -> None:
        applier = self._appliers.get(key[0])
        if applier is None:
            if document is not None:
                known = ", ".join(sorted(self._appliers))
                raise Invalid(
                    "kind_unknown",
                    f"This site knows no documents of kind {key[0][:60]!r}, only {known}. Upgrade it.",
                )
        elif document is None:
            await applier.remove(key[1])
        else:
            await applier.apply(document)

    def _say(self, report: Report) -> None:
        if self._reports.get(report.key) == report:
            return
        self._reports[report.key] = report
        self._changed()
        if report.state != APPLYING:
            self._on_change(report)

    def _changed(self) -> None:
        # From the wall clock, so that a site with a new disk does not count from where it would not be heard.
        self._version = max(self._version + 1, int(self._clock.wall_s() * 1e3))
        self.news.set()

    async def _remember(self) -> None:
        """Brings the memory onto the disk; a disk that is full costs the memory, not the work."""
        async with self._saving:
            remembered = Remembered(
                self._desired,
                tuple(self._reports[key] for key in sorted(self._reports)),
                self._version,
                tuple((*key, tries) for key, tries in sorted(self._begun.items())),
            )
            try:
                await self._memory.save(remembered)
            except LittoralError as error:
                _LOG.warning("The agent's memory is not on the disk.", reason=error.message)
