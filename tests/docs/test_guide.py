"""The guide's pages can be followed: each step works as it is written, in its order, beside what the page started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from docs.collect import ROOT
from littoral.hub import alarms

GUIDE = ROOT / "docs" / "guide"
WALKS = [["1-first-answer.md"], ["2-your-model.md"], ["3-two-machines.md", "4-red.md"]]
STEP_S_MAX = 120
PATIENCE_S = 60.0
_STEP = re.compile(
    r"<!-- (?P<mark>step|step: until|beside) -->\n```(?P<language>sh|python)\n(?P<text>.*?)\n```", re.DOTALL
)
_PORT = re.compile(r"(?<=[: ])(8000|8001|8443|8444|8445|9000|9001)\b")
# What a command listens on unless it says so; written out, so that a test can take free ports instead.
_USUAL = {
    "littoral serve": {"--http-port": "8000", "--grpc-port": "8001"},
    "littoral hub run": {"--port": "8443", "--http-port": "8444", "--grpc-port": "8445"},
    "littoral edge run": {"--http-port": "8000", "--grpc-port": "8001", "--upstream": "https://127.0.0.1:8444"},
}


@dataclass(slots=True)
class Walk:
    """One reader: a folder, the ports that stand for the usual ones, what runs in other shells."""

    folder: Path
    ports: dict[str, str] = field(default_factory=dict)
    beside: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def written_out(self, text: str) -> str:
        """A block's text with free ports."""
        for command, flags in _USUAL.items():
            more = "".join(f" {flag} {value}" for flag, value in flags.items() if f"{flag} " not in text)
            text = re.sub(rf"^{command}\b", f"{command}{more}", text, flags=re.MULTILINE)
        return _PORT.sub(lambda found: self.ports.setdefault(found[0], str(free_port())), text)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LITTORAL_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**kept, "PATH": path, "LITTORAL_URL": f"http://127.0.0.1:{self.ports.get('8000', '8000')}"}

    def start(self, text: str) -> None:
        """A shell beside; what listens on the same ports was told to be stopped."""
        written = self.written_out(text)
        listens = re.findall(r"--(?:http-)?port (\d+)", written)
        for port in listens:
            stop(self.beside.pop(port, None))
        with (self.folder / f"story-{listens[0]}.txt").open("wb") as story:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {written}"],
                cwd=self.folder,
                env=self.environment(),
                stdout=story,
                stderr=subprocess.STDOUT,
            )
        self.beside[listens[0]] = process
        for port in listens:
            wait_for(port, process, asks="littoral serve" in text)

    def step(self, language: str, text: str, *, again: bool) -> None:
        """One step, tried again for a while where the page says to wait."""
        written = self.written_out(text)
        command = (
            [sys.executable, "-c", written] if language == "python" else ["bash", "-euo", "pipefail", "-c", written]
        )
        until_s = time.monotonic() + (PATIENCE_S if again else 0.0)
        while True:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=STEP_S_MAX,
                check=False,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < until_s, f"{text}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: str, process: subprocess.Popen[bytes], *, asks: bool) -> None:
    """Until somebody listens there, and a server has its models."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        assert process.poll() is None, "it ended"
        assert time.monotonic() < until_s, f"nobody is at {port}"
        try:
            if asks:
                urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5).close()
            else:
                socket.create_connection(("127.0.0.1", int(port)), timeout=5).close()
        except (OSError, URLError):
            time.sleep(0.1)
        else:
            return


def stop(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def walking(folder: Path) -> Iterator[Walk]:
    walk = Walk(folder)
    try:
        yield walk
    finally:
        for process in walk.beside.values():
            stop(process)


@pytest.mark.parametrize("pages", WALKS, ids=lambda pages: pages[0])
def test_a_reader_who_types_what_the_guide_says_gets_where_it_leads(pages: list[str], tmp_path: Path) -> None:
    # given a reader with an empty folder
    with walking(tmp_path) as walk:
        taken = 0

        # when they do one step after the other
        for page in pages:
            for found in _STEP.finditer((GUIDE / page).read_text(encoding="utf-8")):
                if found["mark"] == "beside":
                    walk.start(found["text"])
                else:
                    walk.step(found["language"], found["text"], again=found["mark"] == "step: until")
                taken += 1

        # then each worked
        assert taken >= 4


def test_no_block_of_a_guide_is_left_out_but_for_the_installation() -> None:
    for page in sorted(GUIDE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        left = re.findall(r"^```(?:sh|python)\n(.*?)^```", _STEP.sub("", text), re.M | re.S)
        assert [block for block in left if "pip install" not in block] == [], page.name


def test_every_page_of_the_guide_is_walked() -> None:
    assert {page.name for page in GUIDE.glob("*.md")} == {name for pages in WALKS for name in pages}


def test_every_alarm_has_its_place_in_the_guide() -> None:
    # given the codes of every alarm that the hub raises
    source = Path(alarms.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r"\"([a-z_]+)\",\s+\"(?:bad|warn)\"", source))

    # then the page names each
    text = (GUIDE / "4-red.md").read_text(encoding="utf-8")
    assert len(codes) >= 8
    assert {code for code in codes if f"**`{code}`**" not in text} == set()
