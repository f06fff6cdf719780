"""Pictures of a page for the documents: stills, and a few moments as one moving picture; only where they are wanted.

`LITTORAL_PICTURES=docs/pictures` names the folder. Without it nothing is taken, so that a test runs alike.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

QUALITY = 82
MOVING_WIDTH_PX = 900


@dataclass(slots=True)
class Film:
    """What was taken; `folder` None: nothing is."""

    folder: Path | None
    moments: list[Image.Image] = field(default_factory=list)
    lengths_ms: list[int] = field(default_factory=list)

    @staticmethod
    def wanted() -> Film:
        """As the environment says."""
        folder = os.environ.get("LITTORAL_PICTURES")
        return Film(None if not folder else Path(folder))

    def still(self, page: Page, name: str) -> None:
        """One picture, as the window shows it."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            _picture(page).save(self.folder / f"{name}.webp", quality=QUALITY, method=6)

    def moment(self, page: Page, *, length_ms: int = 1200) -> None:
        """One more moment of the moving picture."""
        if self.folder is not None:
            picture = _picture(page)
            height = round(picture.height * MOVING_WIDTH_PX / picture.width)
            self.moments.append(picture.resize((MOVING_WIDTH_PX, height), Image.Resampling.LANCZOS))
            self.lengths_ms.append(length_ms)

    def develop(self, name: str) -> None:
        """All moments as one moving picture that begins again."""
        if self.folder is not None:
            first, *others = self.moments
            first.save(
                self.folder / f"{name}.webp",
                save_all=True,
                append_images=others,
                duration=self.lengths_ms,
                loop=0,
                quality=QUALITY,
                method=6,
                minimize_size=True,
            )


def _picture(page: Page) -> Image.Image:
    page.mouse.move(1, 1)  # away from what would look otherwise under it
    return Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
