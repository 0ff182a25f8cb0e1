"""Rows come out of files, objects and DataFrames with their place; what is none is told."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from causalkit.errors import TraceFormatError
from causalkit.journal_lines import Damage
from causalkit.workflows.readers.sources import Row, files_of, frame_rows, json_lines, read_json


def test_lines_come_with_their_bytes_and_so_does_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a":1}\n\n{"a":\n[{"a":2},3]\n{"a":NaN}')

    rows = list(json_lines(path, "rows"))

    assert [(row.value, row.start, row.end) for row in rows if isinstance(row, Row)] == [
        *(({"a": 1}, 0, 8), ({"a": 2}, 15, 27), ({"a": None}, 27, 36))
    ]
    assert [(row.start, row.end) for row in rows if isinstance(row, Damage)] == [(9, 15), (15, 27)]


def test_a_torn_document_does_not_spoil_those_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{\n "a": {\n' + json.dumps({"b": 1}, indent=1) + "\n" + json.dumps({"c": 1}, indent=1))

    assert [row.value for row in json_lines(path, "rows") if isinstance(row, Row)] == [{"b": 1}, {"c": 1}]


def test_text_of_windows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"a": "é"}\r\n{"a": 2}\r\n', encoding="utf-16")

    assert [row.value for row in json_lines(path, "rows") if isinstance(row, Row)] == [{"a": "é"}, {"a": 2}]
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a": 1}'))
    assert read_json(path, "rows") == {"a": 1}


def test_what_was_parsed_already_comes_as_it_is() -> None:
    assert read_json({"a": 1}, "rows") == {"a": 1}
    assert [row.value for row in json_lines([{"a": 1}, {"b": 2}], "rows") if isinstance(row, Row)] == [
        {"a": 1},
        {"b": 2},
    ]


def test_no_json_is_refused_with_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"a": 1, b}')

    with pytest.raises(TraceFormatError, match="is no JSON at byte 9") as refused:
        read_json(path, "rows")
    assert (refused.value.byte, refused.value.expected) == (9, "rows")


@pytest.mark.parametrize(
    ("source", "told"), [(3, "got a int"), (b"a", "got a bytes"), ([], "no file"), ("a\0b", "null")]
)
def test_what_is_no_path_is_refused(source: object, told: str) -> None:
    with pytest.raises(TraceFormatError, match=told):
        files_of(source, "rows")


def test_rows_of_a_dataframe_leave_out_what_is_missing() -> None:
    frame = pd.DataFrame(
        {"a": [1, 2], "b": [np.nan, 0.5], "t": pd.to_datetime(["2026-01-02", None]), 3: [[np.int64(1)], None]}
    )

    assert [row.value for row in frame_rows(frame)] == [
        {"a": 1, "t": "2026-01-02T00:00:00", "3": [1]},
        {"a": 2, "b": 0.5},
    ]
