"""The house stands: floors, circles, sizes, first sentences, and a face that costs nothing to look at."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter

import pytest

from house.structure import FLOORS, Module, functions, imports, module_graph, modules

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
IMPORT_MS_MAX = 60
HEAVY = ("onnxruntime", "grpc", "PIL", "uvicorn", "numpy", "torch", "asyncio")

MODULES = modules()


def _room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def _breaches(found: tuple[Module, ...]) -> list[str]:
    wrong = []
    for module in found:
        if module.room in ("", "testing", "__main__"):
            continue
        for name in imports(module):
            room = _room_of(name)
            if room == module.room:
                continue
            if room not in FLOORS:
                wrong.append(f"{module.name} imports {name}: the face and `testing` are not for rooms")
            elif FLOORS[room] >= FLOORS[module.room]:
                wrong.append(f"{module.name} (floor {FLOORS[module.room]}) imports {name} (floor {FLOORS[room]})")
    return wrong


def test_every_room_stands_on_a_floor() -> None:
    # given the rooms that the package has
    rooms = {module.room for module in MODULES} - {"", "testing", "__main__"}

    # when they are looked up in the floor plan
    unknown = rooms - set(FLOORS)

    # then none is without a floor
    assert not unknown


def test_a_package_imports_only_from_floors_below_its_own() -> None:
    assert _breaches(MODULES) == []


def test_the_floor_test_bites_when_an_import_hides_in_a_function_or_under_type_checking() -> None:
    # given a module of the ground floor that looks upstairs in two hidden ways
    source = (
        "def ask():\n    from littoral.runtime import runtime\n"
        "if TYPE_CHECKING:\n    from littoral.serve.dataplane import DataPlane\n"
    )
    planted = Module(MODULES[0].path, "littoral.core.planted", ast.parse(source))

    # when the floors are checked
    breaches = _breaches((planted,))

    # then both are seen
    assert len(breaches) == 2


def test_no_module_imports_itself_in_a_circle() -> None:
    try:
        TopologicalSorter(module_graph(MODULES)).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' > '.join(error.args[1])}")


def test_no_file_is_longer_than_400_lines() -> None:
    lengths = {module.name: len(module.path.read_text(encoding="utf-8").splitlines()) for module in MODULES}
    assert {name: length for name, length in lengths.items() if length > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = {f"{m.name}.{name}": length for m in MODULES for name, length in functions(m) if length > FUNCTION_LINES_MAX}
    assert long == {}


def test_every_module_starts_by_saying_what_it_is_in_one_sentence() -> None:
    silent = []
    for module in MODULES:
        first = (ast.get_docstring(module.tree) or "").split("\n\n")[0]
        if not first.endswith((".", ":")) or first != first.strip():
            silent.append(module.name)
    assert silent == []


def test_looking_at_the_face_takes_under_60_ms_and_loads_nothing_heavy() -> None:
    # given a fresh interpreter that times the import by itself, five times over
    script = (
        "import json, sys, time; t = time.perf_counter(); import littoral; "
        "print(json.dumps([(time.perf_counter() - t) * 1000, sorted(sys.modules)]))"
    )

    # when it imports the package
    runs = [
        json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)
        for _ in range(5)
    ]

    # then the quickest run is under the limit, and no heavy library came along
    assert min(ms for ms, _ in runs) < IMPORT_MS_MAX
    assert [name for name in HEAVY if name in runs[0][1]] == []


def test_every_name_of_the_face_can_be_reached() -> None:
    script = "import littoral; [getattr(littoral, name) for name in littoral.__all__]; print(len(littoral.__all__))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert 1 <= int(done.stdout) <= 30
