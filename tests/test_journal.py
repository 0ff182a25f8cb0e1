from __future__ import annotations

import errno
import math
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalkit.errors import CausalkitError
from causalkit.journal import JournalWriter
from causalkit.journal_reading import journal_files, read_journal

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


def write(path: Path, *records: dict[str, Any], **options: Any) -> None:
    with JournalWriter(path, **options) as journal:
        for record in records:
            journal.append(record)


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


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


def test_a_record_appended_behind_a_cut_at_any_byte_is_not_lost(path: Path) -> None:
    write(path, *SMALL)
    whole = path.read_bytes()
    after = {"schema": 1, "kind": "run", "request_id": "after"}
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        before = read_journal(path)[0]
        write(path, after)
        assert read_journal(path)[0] == [*before, after]


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
    write(path, {"message": "no file \udcff", "list": [1, "\ud800"]})
    assert read_journal(path) == ([{"schema": 1, "message": "no file ?", "list": [1, "?"]}], [])


def test_eight_threads_lose_and_tear_nothing(path: Path) -> None:
    with JournalWriter(path) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: journal.append({"n": n, "pad": "x" * (n % 5000)}), range(2000)))
    records, damage = read_journal(path)
    assert sorted(record["n"] for record in records) == list(range(2000))
    assert damage == []


def test_a_line_is_one_write_that_begins_on_no_page_it_does_not_end_on(path: Path, monkeypatch: Any) -> None:
    sizes: list[tuple[int, int]] = []
    with JournalWriter(path) as journal:
        bare = os.write

        def counted(file: int, data: bytes) -> int:
            sizes.append((path.stat().st_size, len(data)))
            return bare(file, data)

        monkeypatch.setattr(os, "write", counted)
        lines = [b'{"pad":"%b"}' % (b"x" * (n * 97 % 1900)) for n in range(200)]
        for line in lines:
            journal.write(line)
    assert len(sizes) == 200
    assert [line.strip() for line in path.read_bytes().splitlines()] == lines
    # Where it had to lie on two pages, all that stands on the first one is white space.
    for (start, length), line in zip(sizes, lines, strict=True):
        assert start // 4096 == (start + length - 1) // 4096 or (start + length - len(line) - 1) % 4096 == 0


def test_two_writers_of_one_file_see_each_other_by_the_end_of_a_page(path: Path) -> None:
    lines = [b'{"pad":"%b"}' % (b"x" * (n * 97 % 500)) for n in range(200)]
    with JournalWriter(path) as one, JournalWriter(path) as other:
        for n, line in enumerate(lines):
            (one, other)[n % 2].write(line)
    text = path.read_bytes()
    assert [line.strip() for line in text.splitlines()] == lines
    # From the third page on what stands on two pages is white space on the first one.
    for end in range(3 * 4096, len(text), 4096):
        assert not text[text.rindex(b"\n", 0, end) + 1 : end].strip()


def test_a_record_that_no_room_was_left_for_does_not_put_the_next_one_on_two_pages(
    path: Path, monkeypatch: Any
) -> None:
    def refuse(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with JournalWriter(path) as journal:
        journal.write(b"x" * 4000)
        with monkeypatch.context() as full:
            full.setattr(os, "write", refuse)
            with pytest.raises(OSError, match="only 0 of"):
                journal.write(b"x" * 300)
        journal.write(b"x" * 200)
    assert path.read_bytes().index(b"x", 4001) == 4096


def test_a_closed_writer_says_so(path: Path) -> None:
    journal = JournalWriter(path)
    journal.close()
    with pytest.raises(CausalkitError, match=r"runs\.jsonl was closed; open a new JournalWriter"):
        journal.append({})


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"durability": "disk"}, "durability"),
        ({"rotate_mb": 0}, "rotate_mb"),
        ({"rotate_mb": -1.5}, "rotate_mb"),
        ({"rotate_mb": math.nan}, "rotate_mb"),
        ({"rotate_mb": "10"}, "rotate_mb"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_name(path: Path, options: dict[str, Any], fact: str) -> None:
    with pytest.raises(CausalkitError, match=f"{fact} is ") as refused:
        JournalWriter(path, **options)
    assert getattr(refused.value, fact) is options[fact]
    assert not path.exists()


def test_a_packed_journal_takes_no_more(path: Path) -> None:
    with pytest.raises(CausalkitError, match=r"name it without \.gz"):
        JournalWriter(f"{path}.gz")


def test_a_writer_that_nobody_closed_is_closed_with_its_last_user(path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208

    before = open_files()
    for _ in range(5):
        JournalWriter(path)
    assert open_files() == before


# Files grow to 1,000 bytes at first, then as far as they like.
FULL_DISK = """
import resource, sys
from causalkit.journal import JournalWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
with JournalWriter(sys.argv[1]) as journal:
    for n in range(100):
        try:
            journal.append({"kind": "run", "n": n, "pad": "x" * 80})
        except OSError as error:
            print(n, error, flush=True)
            break
    try:
        journal.append({"kind": "run", "n": n})
    except OSError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    for again in (n, n + 1):
        journal.append({"kind": "run", "n": again, "pad": "x" * 80})
"""


def test_a_full_disk_is_an_error_that_names_the_file_and_once_there_is_room_the_writer_goes_on(path: Path) -> None:
    short, nothing = run(FULL_DISK, str(path)).splitlines()
    failed_at, message = short.split(" ", 1)
    assert "bytes of a record were written (disk full?); put that right (make room on the disk)" in message
    assert "only 0 of " in nothing
    assert str(path) in message
    assert str(path) in nothing
    records, damage = read_journal(path)
    assert [record["n"] for record in records] == list(range(int(failed_at) + 2))
    assert [part.end for part in damage] == [1001]  # the torn bytes and the newline that closes them


STILL_FULL = """
import resource, sys
from causalkit.journal import JournalWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (20, -1))
journal = JournalWriter(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
journal.append({"n": 1})
"""


def test_a_writer_that_opens_a_torn_journal_on_a_full_disk_closes_its_line_with_the_first_record(path: Path) -> None:
    path.write_bytes(b'{"schema":1,"kind":"')
    run(STILL_FULL, str(path))
    assert path.read_bytes().splitlines()[1:] == [b'{"schema":1,"n":1}']


FORK = """
import os, sys, threading, time
from causalkit.journal import JournalWriter
durability, fsync = sys.argv[2], os.fsync
os.fsync = lambda file: (time.sleep(0.05), fsync(file))
journal = JournalWriter(sys.argv[1], durability=durability)
def append(who):
    for n in range(5):
        journal.append({"kind": "run", "who": who, "n": n})
threads = [threading.Thread(target=append, args=(who,)) for who in range(3)]
for thread in threads:
    thread.start()
time.sleep(0.02)
children = []
for who in range(3, 6):
    children.append(os.fork())
    if not children[-1]:
        append(who)
        os._exit(0)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_child_made_by_fork_goes_on_with_the_same_writer(path: Path, durability: str) -> None:
    run(FORK, str(path), durability)
    records, damage = read_journal(path)
    assert damage == []
    for who in range(6):
        assert [record["n"] for record in records if record["who"] == who] == list(range(5))


@pytest.mark.parametrize("rotate_mb", [None, 0.001])
def test_threads_that_wait_for_the_disk_share_one_fsync_of_their_file_that_began_after_they_wrote(
    path: Path, monkeypatch: pytest.MonkeyPatch, rotate_mb: float | None
) -> None:
    synced: list[tuple[int, float, float]] = []
    bare_write, written = os.write, threading.local()

    def slow_fsync(file: int) -> None:
        inode, begun = os.fstat(file).st_ino, time.perf_counter()
        time.sleep(0.005)
        synced.append((inode, begun, time.perf_counter()))

    def noted_write(file: int, data: bytes) -> int:
        count = bare_write(file, data)
        written.what = os.fstat(file).st_ino, time.perf_counter()
        return count

    def append(n: int) -> tuple[int, float, float]:
        journal.append({"n": n})
        return *written.what, time.perf_counter()

    with JournalWriter(path, durability="power", rotate_mb=rotate_mb) as journal, ThreadPoolExecutor(8) as pool:
        monkeypatch.setattr(os, "fsync", slow_fsync)
        monkeypatch.setattr(os, "write", noted_write)
        acknowledged = list(pool.map(append, range(160)))
    assert len(synced) < 80
    for inode, wrote, returned in acknowledged:
        assert any(file == inode and wrote <= begun and ended <= returned for file, begun, ended in synced)
    assert sorted(record["n"] for record in read_journal(path)[0]) == list(range(160))


def test_a_new_journal_that_shall_survive_a_power_failure_is_entered_in_its_folder_for_good(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    write(path, {"n": 1}, durability="power")
    assert synced == [path.parent.stat().st_ino, path.stat().st_ino]
    write(path, {"n": 2})
    assert len(synced) == 2


def test_an_fsync_that_fails_is_an_error_for_every_thread_and_every_later_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int) -> None:
        time.sleep(0.01)
        raise OSError(5, "Input/output error")

    def append(n: int) -> str:
        with pytest.raises(OSError, match="may not survive a loss of power") as failed:
            journal.append({"n": n})
        return str(failed.value)

    with JournalWriter(path, durability="power") as journal, ThreadPoolExecutor(4) as pool:
        monkeypatch.setattr(os, "fsync", fail)
        assert all(str(path) in text for text in pool.map(append, range(4)))
        monkeypatch.setattr(os, "fsync", lambda file: None)
        append(5)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_file_that_is_full_is_followed_by_the_next_one(path: Path, durability: str) -> None:
    records = [{"schema": 1, "n": n, "pad": "x" * 80} for n in range(100)]
    write(path, *records, rotate_mb=0.002, durability=durability)
    files = journal_files(path)
    assert [file.name for file in files[:3]] == ["runs.jsonl", "runs.0001.jsonl", "runs.0002.jsonl"]
    assert len(files) > 3
    assert all(2000 <= file.stat().st_size < 2200 for file in files[:-1])
    assert read_journal(path) == (records, [])


def test_a_new_writer_begins_at_the_newest_file_whether_it_rotates_or_not(path: Path) -> None:
    write(path, *SMALL, rotate_mb=0.0001)
    newest = journal_files(path)[-1]
    before = path.read_bytes()
    write(path, {"n": 1})
    assert newest.read_bytes().endswith(b'{"schema":1,"n":1}\n')
    assert path.read_bytes() == before


def test_a_newest_file_that_was_packed_is_left_alone(path: Path) -> None:
    write(path, SMALL[0])
    path.rename(f"{path}.gz")
    write(path, SMALL[1])
    assert [file.name for file in journal_files(path)] == ["runs.jsonl.gz", "runs.0001.jsonl"]


def test_a_torn_line_at_the_end_of_the_newest_file_is_closed(path: Path) -> None:
    path.with_name("runs.0001.jsonl").write_bytes(b'{"schema":1,"ki')
    write(path, SMALL[0])
    assert read_journal(path)[0] == SMALL[:1]


def test_eight_threads_that_go_from_file_to_file_lose_nothing_and_keep_their_order(path: Path) -> None:
    def append(who: int) -> None:
        for n in range(200):
            journal.append({"who": who, "n": n, "pad": "x" * 100})

    with JournalWriter(path, rotate_mb=0.005) as journal, ThreadPoolExecutor(8) as pool:
        list(pool.map(append, range(8)))
    records, damage = read_journal(path)
    assert damage == []
    for who in range(8):
        assert [record["n"] for record in records if record["who"] == who] == list(range(200))
    assert len(journal_files(path)) > 20
