"""What the hub's tests put into its database."""

from __future__ import annotations

from littoral.model.release import Release, ReleaseFile


def release(name: str = "inspect", version: str = "1", *, content: str = "0") -> Release:
    """A release of one file; `content` is a hexadecimal digit that its digest is made of."""
    return Release(name, version, (ReleaseFile("version/model.onnx", "sha256:" + content * 64, 10),))
