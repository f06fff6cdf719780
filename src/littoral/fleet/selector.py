"""Labels and selectors: `line=3,role!=spare` names every site whose labels agree.

    selector = term ("," term)*  |  "*"
    term     = label ("=" | "!=") value
    label    = letters, digits, ".", "_", "-", at most 63, starting and ending with a letter or digit
    value    = the same

All terms must hold. `label!=value` also holds where a site has no such label. Every site has the label `site`, its own
name. An empty selector is refused: a variable that was forgotten must not mean all sites; `*` means them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from littoral.core.errors import Invalid

TERMS_MAX = 32
LABELS_MAX = 64
SITE = "site"
EVERY = "*"

_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_TERM = re.compile(r"(?P<label>[^=!]*)(?P<sign>!?=)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition on one label."""

    label: str
    value: str
    equal: bool = True

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether a site with these labels is meant."""
        return (labels.get(self.label) == self.value) is self.equal

    def __str__(self) -> str:
        return f"{self.label}{'=' if self.equal else '!='}{self.value}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; without any it means every site."""

    terms: tuple[Term, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Selector:
        """The selector that a text says; `Invalid` (`selector_wrong`) points at what is not one."""
        if text.strip() == EVERY:
            return cls()
        parts = text.split(",")
        if len(parts) > TERMS_MAX:
            raise _wrong(text, f"more than {TERMS_MAX} terms")
        terms = tuple(dict.fromkeys(_term(part, text) for part in parts))
        wanted: dict[str, str] = {}
        for term in terms:
            if term.equal and wanted.setdefault(term.label, term.value) != term.value:
                raise _wrong(text, f"{term.label!r} cannot be {wanted[term.label]!r} and {term.value!r} at once")
        for term in terms:
            if not term.equal and wanted.get(term.label) == term.value:
                raise _wrong(text, f"{term.label!r} cannot be {term.value!r} and not be it")
        return cls(terms)

    def matches(self, site: str, labels: Mapping[str, str]) -> bool:
        """Whether a site of this name with these labels is meant."""
        whole = {**labels, SITE: site}
        return all(term.holds(whole) for term in self.terms)

    def select(self, sites: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
        """The names of the sites that are meant, sorted; `sites` are labels by name."""
        return tuple(sorted(name for name, labels in sites.items() if self.matches(name, labels)))

    def __str__(self) -> str:
        return ",".join(map(str, self.terms)) or EVERY


def read_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels written as `label=value`, each perhaps several with commas; `Invalid` (`label_wrong`).

    A label may be given twice only with one value, and never `site`, which is the site's name.
    """
    labels: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",")):
        label, sign, value = part.partition("=")
        label, value = label.strip(), value.strip()
        if not sign:
            raise Invalid("label_wrong", f"{part[:80]!r} is no label. Write label=value.")
        check_label(label, value)
        if labels.setdefault(label, value) != value:
            raise Invalid("label_wrong", f"Label {label!r} is given as {labels[label]!r} and as {value!r}. Keep one.")
    if len(labels) > LABELS_MAX:
        raise Invalid("label_wrong", f"A site has at most {LABELS_MAX} labels.")
    return labels


def check_label(label: str, value: str) -> None:
    """`Invalid` (`label_wrong`) where a site cannot bear this label."""
    for word in (label, value):
        if _WORD.fullmatch(word) is None:
            raise Invalid(
                "label_wrong",
                f"{word[:80]!r} is no label's name or value. Use letters, digits, '.', '_' and '-', at most 63, "
                "with a letter or digit at both ends.",
            )
    if label == SITE:
        raise Invalid("label_wrong", "The label `site` is the site's own name. Give the label another name.")


def _term(part: str, text: str) -> Term:
    match = _TERM.fullmatch(part.strip())
    if match is None:
        raise _wrong(text, f"{part.strip()[:80]!r} is not label=value or label!=value")
    label, value = match["label"].strip(), match["value"].strip()
    for word in (label, value):
        if _WORD.fullmatch(word) is None:
            raise _wrong(text, f"{word[:80]!r} is no label's name or value")
    return Term(label, value, match["sign"] == "=")


def _wrong(text: str, why: str) -> Invalid:
    shown = text[:80] or "an empty text"
    return Invalid("selector_wrong", f"Selector {shown!r}: {why}. Write label=value,other!=value, or * for every site.")
