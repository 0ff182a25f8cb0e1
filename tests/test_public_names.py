from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import causalkit

STUB = Path(causalkit.__file__).with_suffix(".pyi")
CPU_LIMIT_S = 0.060
HEAVY = (
    "pandas", "dowhy", "matplotlib", "sklearn", "ipywidgets", "numpy", "networkx", "scipy", "duckdb", "ibis", "pyarrow",
)  # fmt: skip

IMPORT_AND_REPORT = """
import json, sys, time
start = time.process_time()
import causalkit
print(json.dumps({"cpu_s": time.process_time() - start, "modules": sorted(sys.modules)}))
"""


def _table_of_names() -> dict[str, str]:
    """The stub's names and the modules they live in."""
    imports = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"causalkit.{node.module}" for node in imports for alias in node.names}


def _fresh_import() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", IMPORT_AND_REPORT], capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(("name", "module"), sorted(_table_of_names().items()))
def test_every_public_name_is_loaded_from_the_module_the_table_names(name: str, module: str) -> None:
    assert getattr(causalkit, name) is getattr(importlib.import_module(module), name)


def test_all_lists_exactly_the_names_of_the_table_in_order() -> None:
    assert causalkit.__all__ == sorted(_table_of_names())


def test_dir_offers_every_public_name() -> None:
    assert set(causalkit.__all__) <= set(dir(causalkit))


def test_every_error_is_public() -> None:
    errors = importlib.import_module("causalkit.errors")
    family = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert family <= set(causalkit.__all__)


def test_every_public_name_has_a_docstring() -> None:
    assert [name for name in causalkit.__all__ if not getattr(causalkit, name).__doc__] == []


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        causalkit.no_such_name  # noqa: B018


def test_import_loads_no_heavy_library() -> None:
    assert set(HEAVY) & set(_fresh_import()["modules"]) == set()


def test_import_costs_less_cpu_than_a_person_notices() -> None:
    # The least of several: what other processes do to this machine only ever adds.
    assert min(_fresh_import()["cpu_s"] for _ in range(5)) < CPU_LIMIT_S
