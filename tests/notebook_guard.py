"""What a committed notebook must be before its outputs can be compared at all.

``python -m tests.notebook_guard notebooks`` prints every fault and exits with 1 if there is one.
Strict nbval passes a notebook that was never executed, and does not look at pictures: this guard does.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZE_CAP_BYTES = 1_500_000
MOST_LINES_IN_A_CELL = 15
PICTURES = ("image/png", "image/svg+xml", "image/jpeg")
# Home folders, temporary folders and environments, as tracebacks and reprs of paths show them.
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|Users|tmp|private|var/folders|opt|mnt|work|workspace)/[\w.-]+")


def main(folders: list[str]) -> int:
    notebooks = [path for folder in folders for path in sorted(Path(folder).rglob("*.ipynb"))]
    notebooks = [path for path in notebooks if ".ipynb_checkpoints" not in path.parts]
    found = [f"{path}: {fault}" for path in notebooks for fault in faults(path)]
    print("\n".join([*found, f"{len(notebooks)} notebooks, {len(found)} faults"]))
    return int(bool(found))


def faults(path: Path) -> list[str]:
    """Everything that is wrong with one notebook, in words."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and _source(cell).strip()]
    return [
        *_faults_of_file(path, notebook),
        *_faults_of_execution(cells),
        *(fault for number, cell in enumerate(cells, start=1) for fault in _faults_of_cell(number, cell)),
    ]


def _faults_of_file(path: Path, notebook: dict[str, Any]) -> Iterator[str]:
    size = path.stat().st_size
    if size > SIZE_CAP_BYTES:
        yield f"{size:,} bytes, the most is {SIZE_CAP_BYTES:,}"
    kernel = notebook["metadata"].get("kernelspec", {}).get("name")
    if kernel != "python3":
        yield f"kernel is {kernel!r}, not 'python3'"
    if "widgets" in notebook["metadata"]:
        yield "saved widget state (metadata.widgets): clear it before saving"
    for place in sorted(set(MACHINE_PATH.findall("\n".join(_texts(notebook))))):
        yield f"path of a machine in it: {place}"


def _faults_of_execution(cells: list[dict[str, Any]]) -> Iterator[str]:
    counts = [cell["execution_count"] for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"cells were not executed once each in order: execution counts are {counts}"
    if not any(_is_picture(output) for cell in cells for output in cell["outputs"]):
        yield "no picture in any output"


def _faults_of_cell(number: int, cell: dict[str, Any]) -> Iterator[str]:
    lines = len(_source(cell).splitlines())
    if lines > MOST_LINES_IN_A_CELL:
        yield f"code cell {number} has {lines} lines, the most is {MOST_LINES_IN_A_CELL}"
    for output in cell["outputs"]:
        if output["output_type"] == "error":
            yield f"code cell {number} shows an error: {output['ename']}"


def _is_picture(output: dict[str, Any]) -> bool:
    return any(kind in output.get("data", {}) for kind in PICTURES)


def _texts(notebook: dict[str, Any]) -> Iterator[str]:
    """Sources and textual outputs; a picture's base64 may hold any letters by chance."""
    for cell in notebook["cells"]:
        yield _source(cell)
        for output in cell.get("outputs", []):
            yield "".join(output.get("text", ""))
            yield "\n".join(output.get("traceback", ""))
            yield from ("".join(data) for kind, data in output.get("data", {}).items() if kind.startswith("text/"))


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
