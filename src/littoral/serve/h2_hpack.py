"""Header blocks read with the `hpack` library, each distinct block once.

gRPC clients repeat the same few indexed bytes for every call. What a block says depends on the decoder's dynamic table
alone, so a block's meaning is kept until that table changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError
from hpack.table import HeaderTable

Fields = list[tuple[bytes, bytes]]
Meaning = TypeVar("Meaning")

BLOCKS_KEPT_MAX = 128


class HeadersTooLarge(Exception):
    """The header list is larger than allowed; the decoder is of no more use."""


class HeadersMalformed(Exception):
    """The block cannot be decoded; the decoder is of no more use."""


class _Table(HeaderTable):  # type: ignore[misc]
    """The dynamic table, which says when it has changed."""

    changed = False

    def add(self, name: bytes, value: bytes) -> None:
        self.changed = True
        super().add(name, value)

    @property
    def maxsize(self) -> Any:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changed = True
        HeaderTable.maxsize.fset(self, size)


class HeaderReader(Generic[Meaning]):
    """One connection's header decoder; every block must pass through it, in order.

    `interpret` turns a block's fields into what the caller needs to know, once for each distinct block.
    """

    def __init__(self, interpret: Callable[[Fields], Meaning], *, list_bytes_max: int) -> None:
        self._interpret = interpret
        self._decoder = Decoder(list_bytes_max)
        self._table = self._decoder.header_table = _Table()
        self._kept: dict[bytes, Meaning] = {}

    def read(self, block: bytes) -> Meaning:
        """What the block means. Raises `HeadersTooLarge`, `HeadersMalformed`."""
        if block in self._kept:
            return self._kept[block]
        try:
            fields: Fields = list(self._decoder.decode(block, raw=True))
        except OversizedHeaderListError as error:
            raise HeadersTooLarge(str(error)) from error
        except HPACKError as error:
            raise HeadersMalformed(type(error).__name__) from error
        except Exception as error:  # the library promises only its own errors, but a peer must never find another
            raise HeadersMalformed(type(error).__name__) from error
        meaning = self._interpret(fields)
        if self._table.changed:  # the bytes of every block seen so far may mean something else from now on
            self._table.changed = False
            self._kept.clear()
            return meaning
        if len(self._kept) >= BLOCKS_KEPT_MAX:
            self._kept.clear()
        self._kept[block] = meaning
        return meaning
