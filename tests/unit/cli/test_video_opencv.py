"""Frames of a real video, as OpenCV reads them."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from littoral.cli.video_opencv import SIDE_PX_MAX, read_video
from littoral.core.errors import Unavailable


def film(path: Path, *, seconds: int) -> None:
    """A video of 20 frames a second that gets lighter, wider than any model needs."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 20.0, (1280, 720))
    for number in range(20 * seconds):
        writer.write(np.full((720, 1280, 3), 2 * number, np.uint8))
    writer.release()


def test_a_video_gives_four_pictures_for_each_second_no_larger_than_a_model_can_use(tmp_path: Path) -> None:
    # given three seconds of video
    path = tmp_path / "film.avi"
    film(path, seconds=3)

    # when its pictures are read
    pictures = read_video(path)

    # then they are of the moments a quarter of a second apart, small, and nobody knows their labels
    shown = [Image.open(io.BytesIO(picture)) for picture, _ in pictures]
    assert len(shown) == 12
    assert {picture.size for picture in shown} == {(SIDE_PX_MAX, 360)}
    light = [float(np.asarray(picture).mean()) for picture in shown]
    assert light == sorted(light)
    assert light[-1] > 100
    assert {label for _, label in pictures} == {""}


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    path.write_bytes(b"no video")

    with pytest.raises(Unavailable) as refused:
        read_video(path)

    assert refused.value.code == "video_unreadable"
