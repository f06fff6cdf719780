"""The names of classes, by the place a model gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from littoral.core.tensor import Array, bytes_array


@dataclass(frozen=True, slots=True)
class Labels:
    """Class id = place - `offset`. `names` are in the order of the ids, or `by_place` in the model's own order."""

    names: tuple[bytes, ...]
    offset: int
    by_place: bool

    def ids(self, places: Array) -> Array:
        """INT64 class ids for a model's places."""
        return places.astype("int64") - self.offset

    def texts(self, places: Array) -> Array:
        """BYTES: the names; the class id as text where there is none."""
        return bytes_array([self._text(place) for place in places.tolist()])

    def _text(self, place: int) -> bytes:
        at = place if self.by_place else place - self.offset
        return self.names[at] if 0 <= at < len(self.names) else str(place - self.offset).encode()


def build_labels(names: Sequence[str], *, offset: int, place_count: int | None) -> Labels:
    """The labels of a model with that many places (None: not known).

    A list as long as the model's output, background included, is taken in the model's order: it is how TensorFlow's
    label files are written. Any other is in the order of the class ids.
    """
    return Labels(tuple(name.encode() for name in names), offset, len(names) == place_count)
