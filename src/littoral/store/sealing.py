"""What the store asks of whoever seals its records: bytes in, bytes out, bound to where they belong."""

from __future__ import annotations

from typing import Protocol


class Seal(Protocol):
    """Authenticated encryption under a key that the store never sees."""

    def seal(self, content: bytes, context: bytes) -> bytes:
        """`content` sealed; opens only with the same context."""
        ...

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed; `Corrupt` where the key, the context or a bit is another."""
        ...
