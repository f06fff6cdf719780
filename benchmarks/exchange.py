"""One request as it goes over the wire, and how a real client asks the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

JSON_HEADERS = (("content-type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as the load generator sends it, and `ask`: the same question put once by a real client."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    ask: Callable[[str], np.ndarray]
    is_grpc: bool = False

    def answer_bytes_min(self, y: np.ndarray) -> int:
        """An answer with these numbers in it cannot be shorter: four bytes each raw, two characters each in JSON."""
        return y.size * (2 if self.headers == JSON_HEADERS else 4)
