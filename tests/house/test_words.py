"""The words of the house: none of those that say nothing, and none that belongs to one machine."""

from __future__ import annotations

import ast
import re
import subprocess

from house.structure import ROOT, modules

EMPTY_WORDS = re.compile(r"(?:^|_)(manager|helper|util|utils|handler|processor|factory)(?:_|s?$)", re.IGNORECASE)
CAMEL_EMPTY_WORDS = re.compile(r"(Manager|Helper|Utils?|Handler|Processor|Factory)(?=[A-Z]|s?$)")


def test_no_name_uses_a_word_that_says_nothing() -> None:
    # given every class, function and module that the package defines
    named = []
    for module in modules():
        named.append((module.name, module.name.rpartition(".")[2]))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                named.append((module.name, node.name))

    # when they are read for words such as "manager"
    wrong = [(where, name) for where, name in named if EMPTY_WORDS.search(name) or CAMEL_EMPTY_WORDS.search(name)]

    # then there is none
    assert wrong == []


def test_no_tracked_file_names_a_folder_of_somebodys_machine() -> None:
    pattern = r"(/w[o]rk/|/r[o]ot/|/home/[a-z]+/)"
    found = subprocess.run(
        ["git", "grep", "-nIE", pattern, "--", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode > 1:  # an unpacked source archive has no git to ask
        return
    assert found.stdout == ""
