"""What the demo's cameras show: built-in pictures, those of a folder, a video's frames, or what a camera sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from littoral.cli.demo_accuracy import Picture
from littoral.cli.pictures import expand, read
from littoral.core.errors import NotFound
from littoral.model import builtin


@contextmanager
def shown(
    *, images: Path | None = None, video: Path | None = None, camera: int | None = None
) -> Iterator[Sequence[Picture]]:
    """The pictures with their true labels, "" where nobody knows them.

    Raises `Unavailable`: `extra_missing` for a video or a camera without the extra [video], `video_unreadable`,
    `camera_missing`, `file_unreadable`; `NotFound` (`path_unknown`) for a folder without pictures.
    """
    if video is not None:
        from littoral.cli.video_opencv import read_video

        yield read_video(video)
    elif camera is not None:
        from littoral.cli.video_opencv import LiveCamera

        live = LiveCamera(camera)
        live.open()
        try:
            yield live
        finally:
            live.close()
    elif images is not None:
        names = list(expand([str(images)]))
        if not names:
            raise NotFound("path_unknown", f"{images} holds no picture.", path=str(images))
        yield [(read(name), "") for name in names]
    else:
        yield [(path.read_bytes(), label) for path, label in builtin.pictures()]
