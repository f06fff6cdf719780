"""One way for a request's input to cross a link: as it came, or packed smaller first."""

from __future__ import annotations

from dataclasses import dataclass

AGREEMENT_MIN = 0.99  # of the answers that a codec must leave as they are, unless somebody says otherwise


@dataclass(frozen=True, slots=True)
class Crossing:
    """`size_bytes` cross; packing them by `codec` ("": as it came) takes `pack_ms` on this site.

    `opened`: only by a peer that takes inferences which begin at a block; any server reads a picture in another form.
    """

    size_bytes: float
    codec: str = ""
    pack_ms: float = 0.0
    opened: bool = False
