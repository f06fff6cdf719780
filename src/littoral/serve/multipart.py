"""Forms in `multipart/form-data`: the fields of a body that is here already, within bounds."""

from __future__ import annotations

import re
from typing import Final

from littoral.core.errors import Invalid
from littoral.net.frame import Buffer

FIELDS_MAX: Final = 16
_HEADERS_BYTES_MAX: Final = 4096
_BOUNDARY = re.compile(r";\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s;,\"]{1,70}))", re.IGNORECASE)
_NAME = re.compile(rb";\s*name=(?:\"([^\"\r\n]*)\"|([^\s;\"]+))", re.IGNORECASE)


def read_form(content_type: str, body: Buffer) -> dict[str, bytes]:
    """The fields of a form by name; the first one where a name repeats. `Invalid` (`form_malformed`) if it is none."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise _malformed("its Content-Type gives no boundary")
    dash_boundary = b"--" + (found.group(1) or found.group(2)).encode("latin-1")
    content = bytes(body)
    position = _first(content, dash_boundary) + len(dash_boundary)
    fields: dict[str, bytes] = {}
    for _ in range(FIELDS_MAX + 1):
        line_end = content.find(b"\r\n", position)
        if content.startswith(b"--", position):
            return fields
        if line_end < 0 or content[position:line_end].strip(b" \t"):
            raise _malformed("a boundary is not followed by a line end")
        start = line_end + 2
        headers_end = content.find(b"\r\n\r\n", line_end, start + _HEADERS_BYTES_MAX)
        if headers_end < 0:
            raise _malformed("a field's headers do not end")
        end = content.find(b"\r\n" + dash_boundary, headers_end + 2)
        if end < 0:
            raise _malformed("its last boundary is missing")
        name = _field_name(content[start:headers_end])
        fields.setdefault(name, content[headers_end + 4 : end])
        position = end + 2 + len(dash_boundary)
    raise _malformed(f"it has more than {FIELDS_MAX} fields")


def _first(content: bytes, dash_boundary: bytes) -> int:
    """Where the first boundary is: at the start, or at the start of a line."""
    if content.startswith(dash_boundary):
        return 0
    found = content.find(b"\r\n" + dash_boundary)
    if found < 0:
        raise _malformed("its boundary is not in the body")
    return found + 2


def _field_name(headers: bytes) -> str:
    for line in headers.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            found = _NAME.search(value)
            if found is not None:
                return (found.group(1) or found.group(2) or b"").decode("utf-8", "replace")
    raise _malformed("a field has no name")


def _malformed(reason: str) -> Invalid:
    return Invalid("form_malformed", f"The form cannot be read: {reason}. Send the picture as the plain body instead.")
