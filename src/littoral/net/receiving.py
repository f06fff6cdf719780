"""The receiver's end without a wire: of a batch and the marks so far, what to apply and what to acknowledge.

A mark is the last number of a log whose effect is stored. What lies at or below it came before and is nothing; what
follows it without a hole is fresh; what lies beyond a hole waits until the hole is filled, and is not acknowledged. So
whatever a sender repeats, reorders or leaves out, each event takes effect once and in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from littoral.core.errors import Denied, Unavailable
from littoral.core.event import Entry
from littoral.net.batch import SEQUENCE_MAX, Batch
from littoral.store.inbox import receive


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a batch amounts to: `fresh` entries to apply, in order; every named log's mark thereafter (`acks`); how many
    entries came before; and which logs wait for a hole to be filled.
    """

    fresh: tuple[Entry, ...]
    acks: Mapping[str, int]
    duplicates: int
    waiting: tuple[str, ...]


def check_site(batch: Batch, site: str) -> None:
    """That a batch is of the site that its sender proved to be; `Denied` (`site_other`)."""
    if batch.site != site:
        raise Denied(
            "site_other",
            f"Site {site[:60]} sent events in the name of {batch.site[:60]}. Send under the name in the certificate.",
            site=site,
            claimed=batch.site,
        )


def weigh(batch: Batch, marks: Mapping[str, int]) -> Verdict:
    """What to apply, given the marks of the batch's logs (a log that is not among them is new)."""
    before = _Marks(marks)
    fresh, known = receive(before, batch.entries)
    acks = {log: mark for (_, log), mark in known.items()}
    duplicates = sum(entry.last <= marks.get(entry.log, 0) for entry in batch.entries)
    waiting = dict.fromkeys(entry.log for entry in batch.entries if entry.last > acks[entry.log])
    return Verdict(tuple(fresh), acks, duplicates, tuple(waiting))


class _Marks:
    """Marks that are looked at and left as they are."""

    def __init__(self, marks: Mapping[str, int]) -> None:
        self._marks = marks

    def mark(self, site: str, log: str) -> int:
        return self._marks.get(log, 0)

    def set_mark(self, site: str, log: str, mark: int) -> None:
        """Whoever weighs keeps the marks."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a batch, as JSON: each of its logs' marks, when to come again if not at once, what the receiver
    itself took, and its time.
    """

    acks: dict[str, int]
    retry_after_ms: float = 0.0
    took_ms: float = 0.0
    hub_time_s: float = 0.0


RECEIPT_BYTES_MAX = 256 * 2**10
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Receipt)


def encode_receipt(receipt: Receipt) -> bytes:
    """The receipt as JSON."""
    return _ENCODER.encode(receipt)


def decode_receipt(answer: bytes) -> Receipt:
    """A receipt from what a hub answered; `Unavailable` (`answer_unreadable`) for anything else."""
    if len(answer) > RECEIPT_BYTES_MAX:
        raise Unavailable("answer_unreadable", f"A receipt of {len(answer)} bytes came. Check the hub's address.")
    try:
        receipt = _DECODER.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(
            "answer_unreadable", f"What came back is no receipt of a hub: {str(error)[:120]}. Check the hub's address."
        ) from error
    if not all(0 <= mark <= SEQUENCE_MAX for mark in receipt.acks.values()):
        raise Unavailable("answer_unreadable", "A hub acknowledged numbers that no log has. Check the hub's address.")
    return receipt
