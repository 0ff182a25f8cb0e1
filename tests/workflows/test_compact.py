from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from causalkit.errors import CausalkitError
from causalkit.journal import JournalWriter
from causalkit.workflows.compact import StaleCopyWarning, compact
from causalkit.workflows.traces import DamagedJournalWarning, Traces, load_traces
from tests.workflows.journals import encoded, lines_of, run_record, some_runs, write
from tests.workflows.test_journal_tables import QUESTIONS

RUNS = some_runs(20, seed=2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "runs.jsonl", *(record for run in RUNS for record in lines_of(run)))


def test_the_copy_gives_the_same_answers(path: Path) -> None:
    journal = load_traces(path)
    copies = compact(path)
    copy = load_traces(path)
    assert list(copy) == list(journal)
    assert (copy.damage, copy.caveats, repr(copy)) == (journal.damage, journal.caveats, repr(journal))
    for ask in QUESTIONS:
        pd.testing.assert_frame_equal(ask(copy), ask(journal))
    assert [one.name for one in copies] == ["runs.runs.parquet", "runs.steps.parquet"]
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "runs.jsonl",
        "runs.runs.parquet",
        "runs.steps.parquet",
    ]


def test_it_is_the_copy_that_is_read(path: Path) -> None:
    compact(path)
    content = path.read_bytes()
    middle = len(content) // 2
    # Of the journal only the ends and the size are looked at.
    path.write_bytes(content[:middle] + b"\0" * 10 + content[middle + 10 :])
    assert len(load_traces(path)) == len(RUNS)


def test_damage_and_caveats_are_kept_in_the_copy(path: Path) -> None:
    repeated = run_record(RUNS[0], success=False)
    path.write_bytes(
        path.read_bytes() + b'{"kind":\n' + encoded(repeated, repeated, run_record(RUNS[1], attributes=[1]))
    )
    with pytest.warns(DamagedJournalWarning):
        journal = load_traces(path)
    compact(path)
    with pytest.warns(DamagedJournalWarning):
        copy = load_traces(path)
    assert len(copy.damage) == 2
    assert (copy.damage, copy.caveats) == (journal.damage, journal.caveats)
    assert list(copy) == list(journal)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"schema":1,"kind":"event"}\n')


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"', 1))


def begin_a_segment(path: Path) -> None:
    path.with_name("runs.0001.jsonl").write_bytes(b'{"schema":1,"kind":"event"}\n')


def lose(path: Path) -> None:
    path.with_name("runs.steps.parquet").unlink()


def spoil(path: Path) -> None:
    path.with_name("runs.runs.parquet").write_bytes(b"PAR1 no")


def empty(path: Path) -> None:
    path.with_name("runs.steps.parquet").write_bytes(b"")


def replace(path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(path.with_name("runs.runs.parquet"))


@pytest.mark.parametrize("spoiled", [grow, cut, change, begin_a_segment, lose, spoil, empty, replace])
def test_a_copy_that_is_not_that_of_the_journal_is_not_read(path: Path, spoiled: Callable[[Path], None]) -> None:
    compact(path)
    spoiled(path)
    with pytest.warns(
        StaleCopyWarning, match=r"the Parquet copy of .*runs\.jsonl .*; the journal is read instead"
    ) as told:
        traces = load_traces(path)
    assert told[0].filename == __file__
    assert "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StaleCopyWarning)
        assert list(load_traces([path, write(path.with_name("none.jsonl"))])) == list(traces)
    compact(path)
    assert list(load_traces(path)) == list(traces)


def test_a_writing_that_is_cut_short_leaves_no_copy_that_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compact(path)
    grow(path)
    move = Path.replace

    def fail(self: Path, target: Any) -> Path:
        if "steps" in self.name:
            raise OSError("disk full")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(CausalkitError, match=r"cannot be written \(disk full\)"):
        compact(path)
    assert not list(path.parent.glob("*.tmp"))
    with pytest.warns(StaleCopyWarning):
        assert len(load_traces(path)) == len(RUNS)


def test_segments_are_copied_together(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    with JournalWriter(path, rotate_mb=0.004) as journal:
        for run in RUNS:
            journal.append(run_record(run))
    compact(path)
    assert len(load_traces(path)) == len(RUNS)
    assert len(list(tmp_path.glob("*.jsonl"))) > 1


def test_a_name_of_a_pattern_is_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r[1]*.jsonl", *map(run_record, RUNS))
    compact(path)
    traces: Traces = load_traces(path)
    assert len(traces) == len(RUNS)
