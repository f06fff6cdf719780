"""What a picture looks like, in numbers that light and texture move separately."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from littoral.core.errors import Invalid
from littoral.core.tensor import Array
from littoral.model.tasks.look import look_of


def encoded(grey: Array, kind: str = "PNG") -> bytes:
    """A picture of these grey levels, from 0 to 1."""
    buffer = BytesIO()
    Image.fromarray((np.clip(grey, 0, 1) * 255).astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def ramp(side: int = 128) -> Array:
    return np.tile(np.linspace(0.2, 0.8, side, dtype=np.float32), (side, 1))


def test_less_light_changes_brightness_and_contrast_but_not_detail() -> None:
    # given a picture, and the same in half the light
    day, dusk = look_of(encoded(ramp())), look_of(encoded(ramp() * 0.5))

    # then only what light changes has changed
    assert day.brightness == pytest.approx(0.5, abs=0.01)
    assert dusk.brightness == pytest.approx(day.brightness / 2, rel=0.02)
    assert dusk.contrast == pytest.approx(day.contrast / 2, rel=0.05)
    assert dusk.detail == pytest.approx(day.detail, rel=0.05)


def test_another_texture_of_the_same_light_changes_detail() -> None:
    # given a smooth picture and a rough one of the same levels
    rough = np.random.default_rng(1).permutation(ramp().ravel()).reshape(128, 128)
    smooth, other = look_of(encoded(ramp())), look_of(encoded(rough.astype(np.float32)))

    # then brightness is the same, and detail is not
    assert other.brightness == pytest.approx(smooth.brightness, abs=0.02)
    assert other.detail > 5 * smooth.detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_a_flat_picture_of_any_kind_has_no_detail(kind: str) -> None:
    look = look_of(encoded(np.full((40, 30), 0.5, np.float32), kind))
    assert look.detail == 0.0
    assert look.brightness == pytest.approx(0.5, abs=0.01)


def test_a_picture_of_one_pixel_has_a_look_and_rubbish_is_refused() -> None:
    assert look_of(encoded(np.ones((1, 1), np.float32))).detail == 0.0
    with pytest.raises(Invalid):
        look_of(b"no picture")
