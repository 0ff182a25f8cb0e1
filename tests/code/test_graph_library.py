"""Functions of the standard library, which nobody here wrote, are read without an exception."""

from __future__ import annotations

import ast
import bisect
import calendar
import colorsys
import difflib
import fractions
import heapq
import inspect
import ipaddress
import shlex
import statistics
import textwrap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from causalkit.code.graph import graph_from_code

MODULES = [
    bisect, calendar, colorsys, difflib, fractions, heapq, ipaddress, shlex, statistics, textwrap,
]  # fmt: skip


def functions_of(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            yield name, function
        elif inspect.isclass(function) and function.__module__ == module.__name__:
            methods = ((part, value) for part, value in vars(function).items() if inspect.isfunction(value))
            yield from ((f"{name}.{part}", value) for part, value in methods if not part.startswith("__"))


@pytest.mark.parametrize("level", ["functions", "statements"])
def test_all_functions_of_ten_modules_are_read_and_almost_all_is_understood(level: Any) -> None:
    table = []
    for module in MODULES:
        for name, function in functions_of(module):
            facts = graph_from_code({name: function}, level=level).graph
            table.append((module.__name__, name, facts["statements"], facts["not_understood"]))
    for module_name, name, _, reports in table:
        print(
            "".join(f"{module_name}.{name} line {report[0]}: {report[1]}: {report[2]}\n" for report in reports), end=""
        )
    print(f"{len(table)} functions, {sum(row[2] for row in table)} statements")
    assert len(table) >= 60
    assert sum(len(row[3]) for row in table) <= 0.1 * sum(row[2] for row in table)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_whole_modules_are_read_as_text(module: ModuleType) -> None:
    source = inspect.getsource(module)
    public = {part.name for part in ast.parse(source).body if isinstance(part, ast.FunctionDef)}
    assert {name for name in public if not name.startswith("_")} <= set(graph_from_code(source))
    assert len(graph_from_code(source, level="statements")) >= len(public)


def test_a_colour_conversion_depends_on_all_its_channels() -> None:
    graph = graph_from_code(colorsys.rgb_to_hsv)
    assert set(graph.predecessors("rgb_to_hsv")) == {"r", "g", "b"}
