"""Output heads of detectors, one family a file.

A new one is a file here, an entry in `HEADS` and its word in the manifest's `Head`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from littoral.model.tasks.heads.head import BuildHead
from littoral.model.tasks.heads.nanodet import build_nanodet
from littoral.model.tasks.heads.ssd import build_ssd
from littoral.model.tasks.heads.yolov5 import build_yolov5
from littoral.model.tasks.heads.yolov8 import build_yolov8
from littoral.model.tasks.heads.yolox import build_yolox

HEADS: Mapping[str, BuildHead] = MappingProxyType(
    {
        "yolox": build_yolox,
        "yolov5": build_yolov5,
        "yolov8": build_yolov8,
        "ssd": build_ssd,
        "nanodet": build_nanodet,
    }
)
