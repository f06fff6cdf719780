"""What the README tells people to run works, word for word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from docs.collect import ROOT, Block, blocks
from littoral.cli.own_server import own_server
from littoral.model import builtin

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
RUN_S_MAX = 300


def run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a block in `folder`, which holds `picture.jpg`; `python` and `littoral` are those of this environment."""
    shutil.copy(builtin.pictures()[0][0], folder / "picture.jpg")
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    if block.language == "python":
        command = [sys.executable, "-c", block.text]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S_MAX, check=False
    )


@pytest.mark.parametrize("block", BLOCKS, ids=[block.place for block in BLOCKS])
def test_a_block_that_is_marked_to_run_does(block: Block, tmp_path: Path) -> None:
    # given a folder as a stranger has it, and a server where the block talks to one
    assert block.language in ("python", "sh", "bash"), f"{block.place}: cannot run {block.language!r}"
    if not block.beside_server:
        done = run(block, tmp_path)
    else:
        with own_server([]) as server:
            text = block.text
            for host in ("127.0.0.1", "localhost"):
                text = text.replace(f"{host}:8000", server.http).replace(f"{host}:8001", server.grpc)
            done = run(replace(block, text=text), tmp_path)

    # then it ends well, and prints what the document shows
    assert done.returncode == 0, f"{block.place} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    if block.prints is not None:
        assert done.stdout.strip() == block.prints.strip()


def test_marked_blocks_are_found_with_their_language_their_output_and_their_need_of_a_server(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "Text\n```sh\nnot this\n```\n<!-- run -->\n```sh\necho a\necho b\n```\n\n<!-- prints -->\n```text\na\nb\n```\n"
        "<!-- run: server -->\n\n```python\npass\n```\n"
    )

    found = blocks(document)

    assert [(block.language, block.text, block.beside_server, block.prints) for block in found] == [
        ("sh", "echo a\necho b", False, "a\nb"),
        ("python", "pass", True, None),
    ]


def test_the_readme_promises_something_that_can_be_run() -> None:
    assert len(blocks(ROOT / "README.md")) >= 2
