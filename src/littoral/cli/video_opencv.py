"""Pictures from a video file or a camera, by OpenCV: what the extra [video] brings."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from littoral.core.errors import Unavailable

try:
    import cv2
except ImportError as error:
    raise Unavailable(
        "extra_missing", "Videos and cameras need the extra [video]: pip install 'littoral[video]'"
    ) from error

FRAME_EVERY_S = 0.25
FRAMES_MAX = 240
SIDE_PX_MAX = 640
QUALITY = 85
FIRST_S_MAX = 5.0

Picture = tuple[bytes, str]


def read_video(path: Path) -> list[Picture]:
    """Up to 240 frames of a video, four for each second of it, as JPEGs that nobody has labelled.

    Raises `Unavailable` (`video_unreadable`).
    """
    video = cv2.VideoCapture(str(path))
    try:
        step = max(round(float(video.get(cv2.CAP_PROP_FPS) or 25.0) * FRAME_EVERY_S), 1)
        pictures: list[Picture] = []
        number = 0
        while len(pictures) < FRAMES_MAX and video.grab():
            if number % step == 0:
                there, frame = video.retrieve()
                if there:
                    pictures.append((_jpeg(frame), ""))
            number += 1
    finally:
        video.release()
    if not pictures:
        raise Unavailable("video_unreadable", f"{path} has no frame that can be read. Is it a video?", path=str(path))
    return pictures


class LiveCamera(Sequence[Picture]):
    """A camera of this machine as one picture, always the newest; read by a thread of its own until `close`."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._newest = b""
        self._came = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read, name=f"camera-{number}", daemon=True)

    def open(self) -> None:
        """Waits for the first picture; `Unavailable` (`camera_missing`) where none comes."""
        self._thread.start()
        if not self._came.wait(FIRST_S_MAX) or not self._newest:
            self.close()
            raise Unavailable(
                "camera_missing", f"Camera {self._number} gives no picture. Is it plugged in, and used by nobody else?"
            )

    def close(self) -> None:
        """Lets the camera go."""
        self._closing.set()
        self._thread.join(FIRST_S_MAX)

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, place: int) -> Picture: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Picture]: ...

    def __getitem__(self, place: int | slice) -> Picture | Sequence[Picture]:
        newest = (self._newest, "")
        return newest if isinstance(place, int) else [newest][place]

    def _read(self) -> None:
        camera = cv2.VideoCapture(self._number)
        try:
            while not self._closing.is_set():
                there, frame = camera.read()
                if there:
                    self._newest = _jpeg(frame)
                self._came.set()
                if not there:
                    time.sleep(FRAME_EVERY_S)
        finally:
            camera.release()


def _jpeg(frame: Any) -> bytes:
    """A frame, no larger than a model can use, as a JPEG."""
    height, width = frame.shape[:2]
    share = SIDE_PX_MAX / max(height, width)
    if share < 1.0:
        frame = cv2.resize(frame, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
