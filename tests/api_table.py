"""The README's "API at a glance", made from the tables in the rooms' docstrings.

``python -m tests.api_table`` prints it, ``python -m tests.api_table --write`` puts it into the README.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "causalkit"
README = ROOT / "README.md"
BEGIN, END = "<!-- api: begin -->", "<!-- api: end -->"


def main(arguments: list[str]) -> None:
    if arguments == ["--write"]:
        README.write_text(with_api(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(api_at_a_glance())


def with_api(readme: str) -> str:
    """The README with its section between the two markers made anew."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{api_at_a_glance()}\n{END}{after}"


def api_at_a_glance() -> str:
    """One Markdown table a room, in the order in which the package's docstring names the rooms."""
    return "\n\n".join(f"### `causalkit.{room}`\n\n{_as_markdown(table)}" for room, table in tables().items())


def tables() -> dict[str, list[list[str]]]:
    """Each room's table as rows of cells, the head first."""
    order = re.findall(r"``causalkit\.(\w+)``", _docstring(PACKAGE))
    rooms = sorted((path.parent for path in PACKAGE.glob("*/__init__.py")), key=lambda room: order.index(room.name))
    return {room.name: simple_table(_docstring(room)) for room in rooms}


def simple_table(docstring: str) -> list[list[str]]:
    """The first rst simple table of a docstring; a row whose first cell is empty continues the row above."""
    lines = docstring.splitlines()
    rulers = [number for number, line in enumerate(lines) if re.fullmatch(r"=+( +=+)+", line.strip())]
    if len(rulers) < 3:
        raise ValueError(f"no table of question, name and module in the docstring {lines[:1]}")
    columns = [match.span() for match in re.finditer("=+", lines[rulers[0]])]
    # The last column's text may be wider than its ruler.
    edges = [(start, end if number < len(columns) - 1 else None) for number, (start, end) in enumerate(columns)]
    rows: list[list[str]] = []
    for line in filter(str.strip, lines[rulers[0] + 1 : rulers[1]] + lines[rulers[1] + 1 : rulers[2]]):
        cells = [line[start:end].strip() for start, end in edges]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{above} {below}".strip() for above, below in zip(rows[-1], cells, strict=True)]
    return rows


def _docstring(package: Path) -> str:
    return ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""


def _as_markdown(table: list[list[str]]) -> str:
    head, *rows = table
    return "\n".join(_line(cells) for cells in [head, ["---"] * len(head), *rows])


def _line(cells: list[str]) -> str:
    plain = (re.sub(r":\w+:`~?([^`]+)`|``([^`]+)``", r"`\1\2`", cell).replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(plain)} |"


if __name__ == "__main__":
    main(sys.argv[1:])
