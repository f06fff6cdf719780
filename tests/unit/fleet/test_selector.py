"""Selectors mean exactly the sites that they say, and what is not a selector is refused with the place of the slip."""

from __future__ import annotations

import pytest

from littoral.core.errors import Invalid
from littoral.fleet.selector import LABELS_MAX, TERMS_MAX, Selector, read_labels

SITES = {
    "cam-1": {"line": "3", "role": "camera"},
    "cam-2": {"line": "3", "role": "spare"},
    "gate": {"line": "4"},
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("line=3", ("cam-1", "cam-2")),
        ("line=3,role!=spare", ("cam-1",)),
        ("role!=spare", ("cam-1", "gate")),
        (" line = 3 , role = camera ", ("cam-1",)),
        ("site=gate", ("gate",)),
        ("site!=gate,line=4", ()),
        ("line=9", ()),
        ("*", ("cam-1", "cam-2", "gate")),
        ("line=3,line=3", ("cam-1", "cam-2")),
    ],
)
def test_a_selector_means_the_sites_whose_labels_agree_with_every_term(text: str, meant: tuple[str, ...]) -> None:
    assert Selector.parse(text).select(SITES) == meant


@pytest.mark.parametrize("text", ["line=3,role!=spare", "*", "site=gate"])
def test_a_selector_written_down_means_the_same(text: str) -> None:
    assert str(Selector.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ",",
        "line",
        "line=",
        "=3",
        "line==3",
        "line=3,",
        "line!3",
        "line=3;role=x",
        "line='3'",
        "line=3 or role=x",
        "*,line=3",
        "line=-3",
        "l" * 64 + "=3",
        "line=" + "3" * 64,
        "line=3,line=4",
        "line=3,line!=3",
        "line=3\nrole=x",
        "line=3' OR '1'='1",
        ",".join(["line=3"] * (TERMS_MAX + 1)),
    ],
)
def test_what_is_not_a_selector_is_refused_and_told_how_to_write_one(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        Selector.parse(text)

    assert refused.value.code == "selector_wrong"
    assert "label=value" in refused.value.message


def test_labels_are_read_from_as_many_texts_as_there_are() -> None:
    assert read_labels(["line=3,role=camera", "hall = north"]) == {"line": "3", "role": "camera", "hall": "north"}


@pytest.mark.parametrize(
    "texts",
    [
        ["line"],
        ["=3"],
        ["line="],
        ["line=3", "line=4"],
        ["site=me"],
        [f"l{number}=1" for number in range(LABELS_MAX + 1)],
    ],
)
def test_what_cannot_label_a_site_is_refused(texts: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        read_labels(texts)

    assert refused.value.code == "label_wrong"
