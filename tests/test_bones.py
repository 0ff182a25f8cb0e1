from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import causalkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
TOP_LEVEL = {
    "pyproject.toml", "notebooks", "causalkit", "data", "tests", "environment.yml", "README.md", "LICENSE",
    "CHANGELOG.md", ".gitignore", ".pre-commit-config.yaml", ".ci", "constraints.txt",
}  # fmt: skip
INDEX_ADDRESS = re.compile(r"/simple\b|--(?:extra-)?index-url|https?://[^\s\"']*pypi")
# This test itself has to name what it looks for.
MAY_NAME_ADDRESSES = {"tests/test_bones.py"}


# What has another name on conda-forge.
IN_CONDA = {"python-duckdb": "duckdb", "ibis-duckdb": "ibis-framework"}


def _bounds(requirements: list[str]) -> dict[str, SpecifierSet]:
    parsed = [(canonicalize_name(r.name), r.specifier) for r in map(Requirement, requirements)]
    return {IN_CONDA.get(name, name): bounds for name, bounds in parsed}


def _files_to_commit() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # git is where PATH says
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_the_conda_environment_has_the_names_and_bounds_of_pyproject() -> None:
    in_conda = _bounds([line for line in ENVIRONMENT["dependencies"] if not line.startswith(("python ", "pip"))])
    assert in_conda == _bounds(PROJECT["dependencies"])


def test_the_conda_environment_has_the_python_range_of_pyproject() -> None:
    (python,) = (line for line in ENVIRONMENT["dependencies"] if line.startswith("python "))
    # Conda cannot leave one dependency out for some Pythons, so a marker's bound becomes the environment's.
    markers = [str(r.marker) for r in map(Requirement, PROJECT["dependencies"]) if r.marker]
    from_markers = [re.fullmatch(r'python_version (\S+) "(\S+)"', marker).groups() for marker in markers]
    expected = [PROJECT["requires-python"], *(operator + version for operator, version in from_markers)]
    assert Requirement(python).specifier == SpecifierSet(",".join(expected))


def test_the_conda_environment_takes_packages_from_conda_forge_only() -> None:
    assert [channel for channel in ENVIRONMENT["channels"] if channel != "nodefaults"] == ["conda-forge"]


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    extras = PROJECT["optional-dependencies"]
    bounds = _bounds(PROJECT["dependencies"]) | _bounds(extras["test"]) | _bounds(extras["dev"])
    assert {name: pinned.get(name) for name, bound in bounds.items() if pinned.get(name, "") not in bound} == {}


def test_the_version_is_the_same_in_package_and_pyproject() -> None:
    assert causalkit.__version__ == PROJECT["version"]


def test_the_top_level_holds_what_such_projects_carry_and_nothing_else() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in _files_to_commit()} <= TOP_LEVEL


def test_no_file_names_a_package_index_or_a_path_of_this_machine() -> None:
    assert [fault for path in _files_to_commit() for fault in _addresses_in(path)] == []


def _addresses_in(path: Path) -> list[str]:
    name = path.relative_to(ROOT).as_posix()
    if name in MAY_NAME_ADDRESSES:
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    found = [match.group() for match in INDEX_ADDRESS.finditer(text)]
    return [f"{name}: {what}" for what in found + ([str(ROOT)] if f"{ROOT}/" in text else [])]
