"""Writers that die, and many that write at once: nothing that was acknowledged is lost."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from causalkit.journal import JournalWriter
from causalkit.journal_reading import Damage, journal_files, read_journal
from tests.journal_children import append_some

ROOT = Path(__file__).parents[1]


def children(*arguments: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "tests.journal_children", *map(str, arguments)], cwd=ROOT, check=True, timeout=600
    )


def kill(kind: str, folder: Path, kills: int, at_once: int) -> list[Damage]:
    """Kill so many writers; whatever they acknowledged is there, and what is torn is damage."""
    children("die", kind, folder, kills, at_once)
    records, damage = read_journal(folder / "runs.jsonl")
    read: dict[str, list[int]] = {}
    for record in records:
        if record["kind"] == "step" or "who" in record:
            who, n = record["step_name"].split() if kind == "trace" else (str(record["who"]), record["n"])
            read.setdefault(who, []).append(int(n))
    for who in map(str, range(kills)):
        last = int.from_bytes((folder / who).read_bytes(), "big")
        # One more may have been written and not yet acknowledged.
        assert read[who] in (list(range(1, last + 1)), list(range(1, last + 2)))
    return damage


@pytest.mark.parametrize("kind", ["append_short", "trace", "append_inherited"])
def test_a_writer_killed_at_any_moment_leaves_short_records_whole_or_out(
    kind: str, tmp_path: Path, proof: bool
) -> None:
    assert kill(kind, tmp_path, 200 if proof else 6, 1) == []


@pytest.mark.parametrize("kind", ["append_long", "append_short"])
def test_of_writers_killed_among_others_nothing_acknowledged_is_lost_and_what_is_torn_is_named(
    kind: str, tmp_path: Path, proof: bool
) -> None:
    kills = 200 if proof else 6
    # A kill can cut the one record that was being written, at a page of the file.
    assert len(kill(kind, tmp_path, kills, 3)) <= kills


def everything(path: Path, writers: int, records: int) -> bool:
    read: dict[int, list[Any]] = {who: [] for who in range(writers)}
    found, damage = read_journal(path)
    for record in found:
        read[record["who"]].append(record["n"])
    return damage == [] and all(read[who] == list(range(records)) for who in read)


def test_sixteen_processes_lose_and_tear_nothing(tmp_path: Path, proof: bool) -> None:
    records = 5000 if proof else 200
    children("together", tmp_path / "runs.jsonl", 16, records, 10_000)
    assert everything(tmp_path / "runs.jsonl", 16, records)


def test_sixteen_processes_that_all_go_on_to_the_next_file_lose_and_tear_nothing(tmp_path: Path, proof: bool) -> None:
    records = 5000 if proof else 200
    children("together", tmp_path / "runs.jsonl", 16, records, 0.1)
    assert len(journal_files(tmp_path / "runs.jsonl")) > 10
    assert everything(tmp_path / "runs.jsonl", 16, records)


def test_a_writer_sent_to_a_spawned_process_opens_the_journal_there(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "runs.jsonl", rotate_mb=0.1) as journal:
        child = multiprocessing.get_context("spawn").Process(target=append_some, args=(journal, 1, 100))
        child.start()
        child.join(60)
        append_some(journal, 0, 100)
    assert child.exitcode == 0
    assert everything(tmp_path / "runs.jsonl", 2, 100)
    assert len(journal_files(tmp_path / "runs.jsonl")) > 1
