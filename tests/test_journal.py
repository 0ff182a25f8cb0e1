from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.journal import Damage, JournalWriter, read_journal

ROOT = Path(__file__).parents[1]
SMALL = [
    {"schema": 1, "kind": "step", "request_id": "a", "attributes": {"text": 'ä "quoted" {"schema":1,"kind":'}},
    {"schema": 1, "kind": "run", "request_id": "a", "steps": [{"schema": 1}]},
    {"schema": 1, "kind": "run", "request_id": "b"},
]

texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


def write(path: Path, *records: dict[str, Any]) -> list[int]:
    """Write a journal and return where each of its lines ends."""
    ends = []
    with JournalWriter(path) as journal:
        for record in records:
            journal.append(record)
            ends.append(path.stat().st_size)
    return ends


def child(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@given(records=st.lists(st.dictionaries(texts, values, max_size=4), max_size=4))
def test_what_was_appended_is_read_back(
    records: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "runs.jsonl"
    write(path, *records)
    assert read_journal(path) == ([{"schema": 1, **record} for record in records], [])
    assert path.read_bytes().count(b"\n") == len(records)


def test_the_folder_is_made_and_a_second_writer_goes_on_behind_the_first(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "runs.jsonl"
    write(path, SMALL[0])
    write(path, SMALL[1])
    assert read_journal(path) == (SMALL[:2], [])


def test_closing_twice_does_no_harm(path: Path) -> None:
    journal = JournalWriter(path)
    journal.close()
    journal.close()


def test_a_journal_cut_at_any_byte_gives_every_whole_record_and_names_the_rest(path: Path) -> None:
    ends = write(path, *SMALL)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        # A record is whole from its last brace on, with its newline or without.
        count = sum(end - 1 <= cut for end in ends)
        torn_from = max((end for end in ends if end <= cut), default=0)
        torn = count == sum(end <= cut for end in ends) and torn_from < cut
        records, damage = read_journal(path)
        assert records == SMALL[:count]
        assert damage == ([Damage(str(path), torn_from, cut, "a torn line")] if torn else [])


def test_a_record_appended_behind_a_cut_at_any_byte_is_not_lost(path: Path) -> None:
    write(path, *SMALL)
    whole = path.read_bytes()
    after = {"schema": 1, "kind": "run", "request_id": "after"}
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        before = read_journal(path)[0]
        write(path, after)
        assert read_journal(path)[0] == [*before, after]


def test_a_record_glued_to_a_torn_one_by_another_writer_is_not_lost(path: Path) -> None:
    ends = write(path, *SMALL)
    whole = path.read_bytes()
    start, last = ends[0], whole[ends[1] :]
    for cut in range(start + 1, ends[1] - 1):
        path.write_bytes(whole[:cut] + last)
        records, damage = read_journal(path)
        assert records == [SMALL[0], SMALL[2]]
        assert [(part.start, part.end) for part in damage] == [(start, cut)]


def test_two_whole_records_glued_together_are_both_read(path: Path) -> None:
    write(path, *SMALL[1:])
    path.write_bytes(path.read_bytes().replace(b"}\n{", b"}{"))
    assert read_journal(path) == (SMALL[1:], [])


def test_a_byte_order_mark_blank_lines_and_windows_line_ends_are_no_damage(path: Path) -> None:
    path.write_bytes(b'\xef\xbb\xbf{"kind":"run"}\r\n\r\n\n   \n{"kind":"step"}')
    assert read_journal(path) == ([{"kind": "run"}, {"kind": "step"}], [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'[{"kind":"run"}]', "JSON, but not an object"),
        (b"17", "JSON, but not an object"),
        (b"\0\0\0\0\0\0", "not JSON"),
        (b'{"kind":"run"', "not JSON"),
        (b'{"kind":"\xff\xfe"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_line_that_is_no_record_is_named_byte_by_byte_and_its_neighbours_are_read(
    path: Path, line: bytes, reason: str
) -> None:
    path.write_bytes(b'{"kind":"run"}\n' + line + b'\n{"kind":"step"}\n')
    records, damage = read_journal(path)
    assert records == [{"kind": "run"}, {"kind": "step"}]
    assert [(part.start, part.end) for part in damage] == [(15, 16 + len(line))]
    assert damage[0].reason.startswith(reason)


def test_a_record_behind_nul_bytes_of_a_power_failure_is_read(path: Path) -> None:
    ends = write(path, SMALL[0])
    with path.open("ab") as file:
        file.write(b"\0" * 40)
    with path.open("ab") as file:
        file.write(b'{"schema":1,"kind":"run","request_id":"b"}\n')
    records, damage = read_journal(path)
    assert records == [SMALL[0], SMALL[2]]
    assert [(part.start, part.end) for part in damage] == [(ends[0], ends[0] + 40)]


@given(content=st.binary(max_size=60), tail=st.booleans())
def test_whatever_stands_in_a_file_reading_it_does_not_fail(
    content: bytes, tail: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "runs.jsonl"
    path.write_bytes(content + (b'\n{"kind":"run"}\n' if tail else b""))
    records, damage = read_journal(path)
    assert {"kind": "run"} in records or not tail
    assert all(0 <= part.start < part.end <= path.stat().st_size for part in damage)


def test_numbers_that_json_has_not_are_written_as_null(path: Path) -> None:
    write(path, {"attributes": {"a": math.nan, "b": math.inf, "c": [-math.inf, 1.5]}})
    assert b"NaN" not in path.read_bytes()
    assert read_journal(path)[0][0]["attributes"] == {"a": None, "b": None, "c": [None, 1.5]}


def test_values_of_numpy_stay_numbers_and_anything_else_becomes_text(path: Path) -> None:
    write(
        path,
        {"a": np.int64(3), "b": np.float64(0.5), "c": np.array([1, 2]), "d": np.bool_(True), "e": Path("x"), 4: {5}},
    )
    record = {"schema": 1, "a": 3, "b": 0.5, "c": [1, 2], "d": True, "e": "x", "4": [5]}
    assert read_journal(path) == ([record], [])


def test_text_that_utf8_cannot_hold_does_not_lose_the_record(path: Path) -> None:
    write(path, {"message": "no file \udcff", "list": [1, "\ud800"], "nan": math.nan})
    assert read_journal(path) == ([{"schema": 1, "message": "no file ?", "list": [1, "?"], "nan": None}], [])


def test_eight_threads_lose_and_tear_nothing(path: Path) -> None:
    with JournalWriter(path) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.append({"n": n, "pad": "x" * (n % 5000)}), range(2000)))
    records, damage = read_journal(path)
    assert sorted(record["n"] for record in records) == list(range(2000))
    assert damage == []


APPEND_MANY = """
import sys
from causalkit.journal import JournalWriter
with JournalWriter(sys.argv[1]) as journal:
    for n in range(500):
        journal.append({"kind": "run", "n": n, "who": sys.argv[2], "pad": "x" * (n * 37 % 6000)})
"""


def test_four_processes_lose_and_tear_nothing(path: Path) -> None:
    children = [subprocess.Popen(child(APPEND_MANY, str(path), str(who)), cwd=ROOT) for who in range(4)]
    assert [process.wait(60) for process in children] == [0] * 4
    records, damage = read_journal(path)
    assert damage == []
    for who in range(4):
        assert [record["n"] for record in records if record["who"] == str(who)] == list(range(500))


FULL_DISK = """
import resource, sys
from causalkit.journal import JournalWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = JournalWriter(sys.argv[1])
for n in range(100):
    try:
        journal.append({"kind": "run", "n": n, "pad": "x" * 80})
    except OSError as error:
        print(n, error)
        raise SystemExit(7)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_an_error_that_names_the_file_and_the_next_writer_goes_on(path: Path) -> None:
    done = subprocess.run(child(FULL_DISK, str(path)), cwd=ROOT, capture_output=True, text=True, check=False)
    failed_at, message = done.stdout.split(" ", 1)
    assert done.returncode == 7
    assert "bytes of a record were written (disk full?)" in message
    assert str(path) in message
    write(path, {"kind": "run", "n": "after"})
    records, damage = read_journal(path)
    assert [record["n"] for record in records] == [*range(int(failed_at)), "after"]
    assert [part.end for part in damage] == [1001]  # the torn bytes and the newline that closes them


ACKNOWLEDGE = """
import os, sys
from causalkit.journal import JournalWriter
with JournalWriter(sys.argv[1]) as journal:
    for n in range(10**9):
        journal.append({"kind": "run", "n": n, "who": sys.argv[2], "pad": "x" * (n * 37 % 9000)})
        os.write(1, b"%d\\n" % n)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_process_loses_nothing_it_acknowledged(path: Path, proof: bool, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    acknowledged: dict[str, int] = {}
    for kill in range(200 if proof else 5):
        # To a file: nobody need read along while the child writes as fast as it can.
        told = tmp_path / "acknowledged"
        with (
            told.open("wb") as out,
            subprocess.Popen(child(ACKNOWLEDGE, str(path), str(kill)), cwd=ROOT, stdout=out) as process,
        ):
            while not told.stat().st_size:
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            os.kill(process.pid, signal.SIGKILL)
        acknowledged[str(kill)] = int(told.read_bytes().splitlines()[-1])
    records, damage = read_journal(path)
    read: dict[str, list[int]] = {}
    for record in records:
        read.setdefault(record["who"], []).append(record["n"])
    for who, last in acknowledged.items():
        assert read[who] == list(range(len(read[who])))
        # One more may have been written and not yet acknowledged.
        assert len(read[who]) - 1 in (last, last + 1)
    # At most one torn line a kill, and it is named.
    assert len(damage) <= len(acknowledged)
