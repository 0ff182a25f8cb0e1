from __future__ import annotations

import os
import re
from pathlib import Path

import causalkit
from tests import api_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_BLOCKS = re.findall(r"^```(?:bash|sh|shell|console)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _setup_commands() -> list[str]:
    return [block.strip() for block in SHELL_BLOCKS if "-m venv" in block]


def test_the_api_at_a_glance_is_what_the_rooms_say() -> None:
    assert api_table.with_api(README) == README, "run: python -m tests.api_table --write"


def test_every_public_name_stands_in_the_api_at_a_glance_or_among_the_errors() -> None:
    named = set(re.findall(r"\w+", README))
    assert set(causalkit.__all__) - named == set()


def test_there_are_exactly_two_setup_commands_of_one_line_each() -> None:
    assert [command.count("\n") for command in _setup_commands()] == [0, 0]


def test_the_first_command_opens_the_first_notebook_and_the_second_runs_all_tests() -> None:
    opens, proves = _setup_commands()
    assert opens.endswith("jupyter lab notebooks/00_start_here.ipynb")
    assert proves.endswith("-m pytest")
    assert "-c constraints.txt" in proves


def test_ci_runs_the_second_command_as_printed() -> None:
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert _setup_commands()[1] in lines


def test_ci_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_link_to_a_file_leads_to_one() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_table_with_wrapped_cells_is_read_whole() -> None:
    docstring = "Room.\n\n====  =====\na     b\n====  =====\nlong  one\n      two\nnext  three\n====  =====\n"
    assert api_table.simple_table(docstring) == [["a", "b"], ["long", "one two"], ["next", "three"]]
