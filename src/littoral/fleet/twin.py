"""A site's twin: what it should live by (desired), what it says it does (reported), and the difference as a value.

Desired is versioned by the hub, reported by the site: of two reports the greater version is the later one, whatever
order they arrive in. The difference is computed, never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import msgspec

from littoral.core.desired import Desired, Document
from littoral.core.errors import Invalid, Plain

APPLIED: State = "applied"
APPLYING: State = "applying"
FAILED: State = "failed"
REPORT_BYTES_MAX = 1 << 20
REPORTS_MAX = 4096
MESSAGE_LENGTH_MAX = 500

State = Literal["applied", "applying", "failed"]
Key = tuple[str, str]
"""A document's kind and name."""


@dataclass(frozen=True, slots=True)
class Report:
    """How one document stands at a site.

    `state` is about `version`. `serving` is the version that is in force, 0 for none: where a later one is being
    applied or has failed, the one before it still is. A failure has the error's `code` and `message`.
    """

    kind: str
    name: str
    version: int
    state: State
    serving: int = 0
    code: str = ""
    message: str = ""

    @property
    def key(self) -> Key:
        return (self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Reported:
    """All that a site says of itself: its own count of reports, the desired version that it has seen, each document.

    `facts` are plain values about the site, such as its software's version.
    """

    version: int = 0
    desired_version: int = 0
    reports: tuple[Report, ...] = ()
    facts: Mapping[str, Plain] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Difference:
    """One document that a site does not live by as desired.

    `wanted` is the desired version (0: it should not be there), `serving` the one in force (0: none). `state` is
    "unseen" until the site has spoken about the wanted version.
    """

    kind: str
    name: str
    wanted: int
    serving: int
    state: str
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Twin:
    """One site, as the hub knows it."""

    site: str
    desired: Desired = field(default_factory=lambda: Desired(0, ()))
    reported: Reported = field(default_factory=Reported)

    @property
    def settled(self) -> bool:
        """Whether the site lives by everything as desired."""
        return not self.difference

    @property
    def difference(self) -> tuple[Difference, ...]:
        """What is desired and not so, sorted by kind and name."""
        return difference(self.desired, self.reported)

    def heard(self, reported: Reported) -> Twin:
        """The twin after a report; one that is older than what is known changes nothing."""
        if reported.version <= self.reported.version:
            return self
        return Twin(self.site, self.desired, reported)


def difference(desired: Desired, reported: Reported) -> tuple[Difference, ...]:
    """What is desired and not so, sorted by kind and name."""
    wanted = {(document.kind, document.name): document for document in desired.documents}
    told = {report.key: report for report in reported.reports}
    found = []
    for key in sorted(wanted.keys() | told.keys()):
        document, report = wanted.get(key), told.get(key)
        one = _compare(key, document, report)
        if one is not None:
            found.append(one)
    return tuple(found)


def _compare(key: Key, document: Document | None, report: Report | None) -> Difference | None:
    if document is None:
        assert report is not None, "a key stands on one side at least"
        if report.serving == 0 and report.state == APPLIED:
            return None
        return Difference(*key, 0, report.serving, report.state, report.code, report.message)
    if report is None:
        return Difference(*key, document.version, 0, "unseen")
    if report.serving == document.version and report.state == APPLIED:
        return None
    if report.version != document.version:
        return Difference(*key, document.version, report.serving, "unseen")
    return Difference(*key, document.version, report.serving, report.state, report.code, report.message)


class _Report(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    kind: str
    name: str
    version: int
    state: State
    serving: int = 0
    code: str = ""
    message: str = ""


class _Reported(msgspec.Struct, frozen=True):
    version: int
    desired_version: int
    reports: list[_Report] = []
    facts: dict[str, str | int | float | bool | None] = {}


def encode_reported(reported: Reported) -> bytes:
    """A report as the JSON that is sent and kept."""
    return msgspec.json.encode(
        {
            "version": reported.version,
            "desired_version": reported.desired_version,
            "reports": list(reported.reports),
            "facts": dict(reported.facts),
        }
    )


def decode_reported(body: bytes) -> Reported:
    """The report in a JSON body; `Invalid` (`report_wrong`) for what is none, too long or says too much."""
    if len(body) > REPORT_BYTES_MAX:
        raise Invalid("report_wrong", f"A report has at most {REPORT_BYTES_MAX} bytes.")
    try:
        told = msgspec.json.decode(body, type=_Reported)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(
            "report_wrong", f"A report cannot be read: {error}. Compare the versions of both sites."
        ) from None
    if told.version < 0 or told.desired_version < 0 or len(told.reports) > REPORTS_MAX:
        raise Invalid("report_wrong", f"A report has versions from 0 and at most {REPORTS_MAX} documents.")
    reports = tuple(
        Report(it.kind, it.name, it.version, it.state, it.serving, it.code, it.message[:MESSAGE_LENGTH_MAX])
        for it in told.reports
    )
    return Reported(told.version, told.desired_version, reports, MappingProxyType(told.facts))
