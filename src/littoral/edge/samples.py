"""Which answers are told with their reasons, and with a small copy of the picture where the site may show it."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from typing import Any

from littoral.core.clock import Clock
from littoral.core.request import InferRequest
from littoral.model.tasks.task import IMAGE
from littoral.runtime.placed import pinned_blocks

EXPLAIN, EXPLANATION = "explain", "explanation"
SIDE_PX_MAX = 72
SHOWN_BYTES_MAX = 4 * 1024 * 1024
SHOWN_PIXELS_MAX = 4_000_000
BYTES_MAX = 4096


class Samples:
    """One answer in `every_s` seconds; `pictures` go along where that is allowed, and never of one that `stays`."""

    def __init__(self, *, every_s: float, pictures: bool, clock: Clock) -> None:
        self._every_s = every_s
        self._pictures = pictures
        self._clock = clock
        self._due_s = clock.monotonic_s()

    def begins(self, request: InferRequest) -> InferRequest:
        """The request, asked to explain itself where the next sample is due."""
        now_s = self._clock.monotonic_s()
        if now_s < self._due_s:
            return request
        self._due_s = now_s + self._every_s
        return replace(request, parameters={**request.parameters, EXPLAIN: True})

    def shown(self, request: InferRequest) -> dict[str, Any]:
        """What is told beside an explained answer."""
        image = request.inputs[0] if len(request.inputs) == 1 else None
        if not self._pictures or image is None or image.name != IMAGE.name or pinned_blocks(request) > 0:
            return {}
        small = thumbnail(image.array.ravel()[0])
        return {} if small is None else {"picture": base64.b64encode(small).decode()}


def thumbnail(picture: bytes) -> bytes | None:
    """A JPEG of at most 72 x 72 pixels and 4096 bytes; None of what is no picture, or too large to look at meanwhile.

    It is made while other requests wait: of a JPEG at an eighth that is quick, of 20 MB nothing is.
    """
    if len(picture) > SHOWN_BYTES_MAX:
        return None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(picture)) as whole:
            whole.draft("RGB", (SIDE_PX_MAX, SIDE_PX_MAX))
            if whole.width * whole.height > SHOWN_PIXELS_MAX:
                return None
            small = whole.convert("RGB")
        small.thumbnail((SIDE_PX_MAX, SIDE_PX_MAX))
        packed = io.BytesIO()
        small.save(packed, "JPEG", quality=70)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return packed.getvalue() if packed.tell() <= BYTES_MAX else None
