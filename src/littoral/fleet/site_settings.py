"""What people say that a site should live by beside models: documents of the kinds "limits" and "configuration"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from littoral.core.errors import Invalid
from littoral.core.units import byte_count

LIMITS, CONFIGURATION = "limits", "configuration"
NAME = "site"
"""The one document of each kind that a site has."""

_Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
_Seconds = Annotated[float, msgspec.Meta(ge=1.0, le=86_400.0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document of kind "limits": what plans may use of the link; what is not said is as the site was started."""

    escalation_share: _Share | None = None
    upload_bytes_per_hour: Annotated[float, msgspec.Meta(ge=0.0)] | None = None
    audit_share: _Share | None = None


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document of kind "configuration": how often a site speaks, and of how many answers."""

    results_share: _Share | None = None
    telemetry_every_s: _Seconds | None = None
    report_every_s: _Seconds | None = None
    metered: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


KINDS: Mapping[str, type[Limits | Configuration]] = {LIMITS: Limits, CONFIGURATION: Configuration}


def read_settings(kind: str, value: Any) -> Limits | Configuration:
    """The value if a site can live by it; `Invalid` (`document_wrong`)."""
    found = KINDS.get(kind)
    if found is None:
        raise Invalid("document_wrong", f"{kind[:40]!r} is not among what a site is told: {', '.join(KINDS)}.")
    try:
        return msgspec.convert(value, found)
    except msgspec.ValidationError as error:
        raise Invalid("document_wrong", f"The {kind} cannot be used: {error}.") from error


def kind_of(key: str) -> str:
    """Which kind a key is of; `Invalid` (`site_setting_wrong`) for one that no kind has."""
    for kind, struct in KINDS.items():
        if key in struct.__struct_fields__:
            return kind
    known = ", ".join(key for struct in KINDS.values() for key in struct.__struct_fields__)
    raise Invalid("site_setting_wrong", f"A site has no setting {key[:40]!r}. Known: {known}.")


def value_of(key: str, text: str) -> float | str | None:
    """A setting as people write it: "5%", "5MB/h", "30"; "" is as the site was started (None)."""
    if not text or key == "metered":
        return text or None
    try:
        if text.endswith("%"):
            return float(text[:-1]) / 100
        if key == "upload_bytes_per_hour":
            return float(byte_count(text.removesuffix("/h")))
        return float(text.removesuffix("s"))
    except ValueError:
        raise Invalid("site_setting_wrong", f"{key}={text[:40]} is no number. Write 5%, 5MB/h or 30.") from None
