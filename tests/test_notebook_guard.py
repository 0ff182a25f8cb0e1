from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests import notebook_guard

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
Breakage = Callable[[nbformat.NotebookNode], None]


@pytest.fixture
def sound() -> nbformat.NotebookNode:
    picture = new_output("display_data", data={"image/png": base64.b64encode(b"picture").decode()})
    cells = [
        new_markdown_cell("# Why?"),
        new_code_cell("1 + 1", execution_count=1),
        new_code_cell("draw()", execution_count=2, outputs=[picture]),
    ]
    return new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def _faults(notebook: nbformat.NotebookNode, folder: Path) -> list[str]:
    path = folder / "notebook.ipynb"
    nbformat.write(notebook, path)
    return notebook_guard.faults(path)


def _error() -> nbformat.NotebookNode:
    return new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["line 1"])


def _text(text: str) -> nbformat.NotebookNode:
    return new_output("stream", name="stdout", text=text)


BREAKAGES: list[tuple[str, Breakage]] = [
    ("execution counts are \\[1, None\\]", lambda n: n.cells[2].update(execution_count=None)),
    ("execution counts are \\[2, 1\\]", lambda n: [n.cells[i].update(execution_count=3 - i) for i in (1, 2)]),
    ("kernel is 'mine'", lambda n: n.metadata.kernelspec.update(name="mine")),
    ("kernel is None", lambda n: n.metadata.pop("kernelspec")),
    ("saved widget state", lambda n: n.metadata.update(widgets={})),
    ("bytes, the most is", lambda n: n.cells[0].update(source="x" * notebook_guard.SIZE_CAP_BYTES)),
    ("code cell 1 shows an error: ZeroDivisionError", lambda n: n.cells[1].outputs.append(_error())),
    ("code cell 1 has 16 lines", lambda n: n.cells[1].update(source="pass\n" * 16)),
    ("no picture", lambda n: n.cells[2].update(outputs=[])),
    (
        "path of a machine in it: /home/someone",
        lambda n: n.cells[1].outputs.append(_text("/home/someone/x.py")),
    ),
    ("path of a machine in it: /tmp/runs", lambda n: n.cells[1].update(source="open('/tmp/runs')")),
]


def test_a_sound_notebook_has_no_fault(sound: nbformat.NotebookNode, tmp_path: Path) -> None:
    assert _faults(sound, tmp_path) == []


@pytest.mark.parametrize(("said", "break_it"), BREAKAGES, ids=[said for said, _ in BREAKAGES])
def test_a_broken_notebook_has_one_fault_that_says_what_is_broken(
    sound: nbformat.NotebookNode, tmp_path: Path, said: str, break_it: Breakage
) -> None:
    broken = copy.deepcopy(sound)
    break_it(broken)
    with pytest.raises(AssertionError, match=said):
        assert _faults(broken, tmp_path) == []
    assert len(_faults(broken, tmp_path)) == 1


def test_an_empty_code_cell_needs_no_execution(sound: nbformat.NotebookNode, tmp_path: Path) -> None:
    sound.cells.append(new_code_cell(""))
    assert _faults(sound, tmp_path) == []


def test_a_picture_whose_bytes_spell_a_path_is_no_fault(sound: nbformat.NotebookNode, tmp_path: Path) -> None:
    sound.cells[2].outputs[0].data["image/png"] = "abc+/home/abc"
    assert _faults(sound, tmp_path) == []


def test_the_command_fails_and_prints_the_faults(
    sound: nbformat.NotebookNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound.cells[2].outputs.clear()
    nbformat.write(sound, tmp_path / "bad.ipynb")
    assert notebook_guard.main([str(tmp_path)]) == 1
    assert "bad.ipynb: no picture in any output" in capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_notebook_of_the_project_passes_the_guard(path: Path) -> None:
    assert notebook_guard.faults(path) == []
