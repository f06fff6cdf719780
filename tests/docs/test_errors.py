"""The page of error codes and the source say the same."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from docs.collect import ROOT, codes_of, documented_codes, raised_codes
from littoral.core.errors import KINDS
from littoral.serve.statuses import STATUSES

PAGE = ROOT / "docs" / "errors.md"


def test_every_error_code_of_the_source_is_documented_with_its_kinds() -> None:
    # given every code that the source raises, and the page's table
    raised: dict[str, set[str]] = defaultdict(set)
    places: dict[str, list[str]] = defaultdict(list)
    for one in raised_codes():
        places[one.code].append(one.place)
        raised[one.code] |= {one.kind} - {""}
    documented = documented_codes(PAGE)

    # when they are compared
    missing = [
        f"| `{code}` | {', '.join(sorted(kinds))} | … | … |   <- {places[code][0]}"
        for code, kinds in sorted(raised.items())
        if not (code in documented and kinds <= documented[code])
    ]

    # then no row is missing
    assert not missing, "docs/errors.md lacks rows (or kinds) for:\n" + "\n".join(missing)


def test_no_documented_code_is_gone_from_the_source() -> None:
    raised = {one.code for one in raised_codes()}

    assert sorted(set(documented_codes(PAGE)) - raised) == []


def test_the_codes_stand_in_alphabetical_order() -> None:
    codes = list(documented_codes(PAGE))

    assert codes == sorted(codes)


def test_the_page_tells_the_status_of_every_kind() -> None:
    text = PAGE.read_text(encoding="utf-8")

    for kind in KINDS:
        status = STATUSES[kind]
        assert f"| {kind.__name__} | {status.http} | {status.grpc_name} | {status.exit_code} |" in text


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ('Invalid("a_code", "m")', {("a_code", "Invalid")}),
        ('errors.Invalid("a" if x else "b", "m")', {("a", "Invalid"), ("b", "Invalid")}),
        ('kind(code or "fallback", "m")', set()),
        ('Denied(code or "fallback", "m")', {("fallback", "Denied")}),
        ('decode(text, code="given")', {("given", "")}),
        ('def decode(text, *, code="usual"): ...', {("usual", "")}),
    ],
)
def test_a_code_is_seen_however_it_is_written(line: str, codes: set[tuple[str, str]]) -> None:
    assert {(one.code, one.kind) for one in codes_of(ast.parse(line), "planted.py")} == codes
