"""Files of Inspect AI: archives, however packed, damaged or too large, and what is none."""

from __future__ import annotations

import gzip
import json
import struct
import warnings
import zipfile
from pathlib import Path

import pytest

from causalkit.errors import TraceFormatError
from causalkit.workflows.readers import inspect_archive
from causalkit.workflows.readers.inspect_ai import read_inspect
from causalkit.workflows.traces import DamagedJournalWarning
from tests.workflows.readers.inspect_logs import (
    ZSTANDARD,
    archive,
    log_of,
    sample_of,
)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, ZSTANDARD])
def test_archives_are_read_however_they_are_packed_and_also_where_they_were_not_finished(
    tmp_path: Path, method: int
) -> None:
    head = {"version": 2, "eval": {"task": "sums"}}
    entries = {
        "_journal/start.json": head,
        "samples/1_epoch_1.json": sample_of(1),
        "samples/a/b_epoch_1.json": sample_of("a/b"),
    }
    runs = read_inspect(archive(tmp_path / "log.eval", entries, method))

    assert [run.attributes["inspect.sample_id"] for run in runs] == [1, "a/b"]
    assert {run.attributes["inspect.status"] for run in runs} == {"started"}

    entries["header.json"] = {**head, "status": "cancelled"}
    again = read_inspect(archive(tmp_path / "log.eval", entries, method))
    assert {run.attributes["inspect.status"] for run in again} == {"cancelled"}


def test_a_sample_that_was_written_again_replaces_the_first(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    first, second = ({**sample_of(1), "input": text} for text in ("first", "second"))
    archive(path, {"header.json": log_of(), "samples/1_epoch_1.json": first, "samples/1_epoch_2.json": second}, 0)
    path.write_bytes(path.read_bytes().replace(b"_epoch_2", b"_epoch_1"))

    assert [run.question for run in read_inspect(path)] == ["second"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, ZSTANDARD])
def test_a_damaged_sample_is_left_out_and_named(tmp_path: Path, method: int) -> None:
    entries = {"header.json": log_of(), "samples/1_epoch_1.json": sample_of(1), "samples/2_epoch_1.json": sample_of(2)}
    path = archive(tmp_path / "log.eval", entries, method)
    with zipfile.ZipFile(path) as whole_zip:
        start = whole_zip.getinfo("samples/2_epoch_1.json").header_offset
    whole = bytearray(path.read_bytes())
    whole[start + 60 : start + 70] = bytes(10)
    path.write_bytes(whole)

    with pytest.warns(DamagedJournalWarning, match="samples/2_epoch_1"):
        traces = read_inspect(path)
    assert len(traces) == 1
    assert (traces.damage[0].path, traces.damage[0].start) == (str(path), start)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, ZSTANDARD])
def test_a_sample_that_unpacks_to_more_than_the_bound_is_refused(
    tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_archive, "_LARGEST_BYTES", 100_000)
    bomb = {**sample_of(1), "metadata": {"zeros": "0" * 10_000_000}}
    path = archive(tmp_path / "log.eval", {"header.json": log_of(), "samples/1_epoch_1.json": bomb}, method)

    assert path.stat().st_size < 100_000
    with pytest.raises(TraceFormatError, match="at most 100000 are read"):
        read_inspect(path)

    # What lies about its size is read no further than it says.
    whole = path.read_bytes().replace(struct.pack("<I", len(json.dumps(bomb))), struct.pack("<I", 99))
    path.write_bytes(whole)
    with pytest.raises(TraceFormatError, match="samples/1_epoch_1"):
        read_inspect(path)


def test_several_logs_and_packed_ones_are_read_together(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json.gz", tmp_path / "b.eval"
    first.write_bytes(gzip.compress(json.dumps(log_of(sample_of(1))).encode()))
    archive(second, {"header.json": log_of(eval_id="e2"), "samples/2_epoch_1.json": sample_of(2)}, zipfile.ZIP_DEFLATED)

    assert len(read_inspect([first, second])) == 2

    empty = tmp_path / "c.json"
    empty.write_text(json.dumps(log_of()))
    assert read_inspect([first, empty]).caveats == ("1 logs hold no sample: task sums, status success",)


def test_numbers_that_json_does_not_know_are_read_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log_of({**sample_of(1), "scores": {"match": {"value": float("nan")}}})))

    assert read_inspect(path)[0].quality_signals == {"match": None}


@pytest.mark.parametrize("depth", [60, 300, 900, 30_000])
def test_what_is_deep_beyond_reason_is_left_out_or_kept_as_it_is(tmp_path: Path, depth: int) -> None:
    good = json.dumps(sample_of(1))
    tool = '{"event": "tool", "id": "x", "function": "f", "timestamp": "2026-11-21T10:00:00Z", "events": ['
    text = '{{"id": 2, "epoch": 1, "input": {}"q"{}, "events": [{}{}], "attachments": {{"a": "b"}}}}'.format(
        "[" * depth,
        "]" * depth,
        tool * depth,
        "]}" * depth,
    )
    path = archive(
        tmp_path / "log.eval",
        {"header.json": log_of(), "samples/1_epoch_1.json": good, "samples/2_epoch_1.json": text},
        0,
    )

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedJournalWarning)
        traces = read_inspect(path)
    assert len(traces) + len(traces.damage) == 2
    assert all(len(run.steps) < 100 for run in traces)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and no more", "cut off or damaged"),
        (b'{"version": 2, "eval"', "is no JSON at byte"),
        (b'{"resourceSpans": []}', "has the keys resourceSpans; expected an evaluation log"),
        (b"[]", "is no object"),
        (b'{"eval": {"task": "sums"}, "status": "error"}', r"no sample \(task sums, status error\)"),
        (b'{"eval": {"task": "sums"}, "samples": [3]}', "sample 1 is no object"),
    ],
)
def test_what_is_no_log_is_refused_in_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)

    with pytest.raises(TraceFormatError, match=message) as refused:
        read_inspect(path)
    assert refused.value.path == str(path)


def test_an_archive_of_something_else_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.docx", {"word/document.xml": {}}, zipfile.ZIP_DEFLATED)
    with pytest.raises(TraceFormatError, match=r"word/document\.xml, without header\.json"):
        read_inspect(path)
