from __future__ import annotations

import gzip
import json
import re
import threading
import time
import tracemalloc
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalkit.journal import JournalWriter
from causalkit.journal_reading import Damage, follow, journal_files, read_journal, scan

SMALL = [
    {"schema": 1, "kind": "step", "request_id": "a", "attributes": {"text": 'ä "quoted" {"schema":1,"kind":'}},
    {"schema": 1, "kind": "run", "request_id": "a", "steps": [{"schema": 1}]},
    {"schema": 1, "kind": "run", "request_id": "b"},
]
NESTED = b'{"kind":"run","steps":[{"step_id":"a","kind":"step"},{"step_id":"b","error":{"type":"E"}}],"last":{}}'
BOM = b"\xef\xbb\xbf"
BLANK = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


def write(path: Path, *records: dict[str, Any], **options: Any) -> list[int]:
    """Write a journal and return where each of its lines ends."""
    ends = []
    with JournalWriter(path, **options) as journal:
        for record in records:
            journal.append(record)
            ends.append(path.stat().st_size)
    return ends


def read(path: Path, content: bytes) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    path.write_bytes(content)
    records, damage = read_journal(path)
    assert all(part.reason and part.path == str(path) for part in damage)
    return records, [(part.start, part.end) for part in damage]


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


# The damage corpus: good lines with damage of every kind between them, and what has to come out of it.

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    ['{"schema":1,"kind":', "}{", '"', "\\\\", "]}", "\ufeff", "\0"]
)
inner = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda value: st.lists(value, max_size=3) | st.dictionaries(texts, value, max_size=3),
    max_leaves=5,
)
steps = st.lists(st.fixed_dictionaries({"step_id": texts, "kind": st.just("step"), "attributes": inner}), max_size=3)
records = st.builds(
    lambda kind, steps, more: {"schema": 1, "kind": kind, "steps": steps, "more": more},
    st.sampled_from(["run", "step", "event"]),
    steps,
    inner,
)
spaced = st.sampled_from([(",", ":"), (", ", ": ")])
ours = st.builds(
    lambda record, separators, plain: json.dumps(record, separators=separators, ensure_ascii=plain).encode(),
    records,
    spaced,
    st.booleans(),
)
foreign = st.dictionaries(texts, inner, max_size=3).map(lambda record: json.dumps(record).encode())
good = ours | foreign
ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \t\n", b"\n \n"])
share = st.floats(0, 1, exclude_max=True)


def part(line: bytes, begin: float, end: float) -> bytes:
    first = int(begin * len(line))
    return line[first : first + 1 + int(end * (len(line) - first - 1))]


def no_record(line: bytes) -> bool:
    try:
        return not isinstance(json.loads(line), dict)
    except ValueError:
        return True


# A record whose end, whose beginning, whose middle or more of it is missing.
torn_end = st.builds(lambda line, end: line[: 1 + int(end * (len(line) - 2))], good, share)
torn = torn_end | st.builds(part, good, share, share).filter(no_record)
torn_middle = st.builds(
    lambda line, begin, end: line.replace(part(line, begin, end), b"", 1), good, share, share
).filter(lambda line: line.strip() != b"" and no_record(line))
nuls = st.integers(1, 40).map(lambda count: b"\0" * count)
garbage = st.sampled_from(
    [b"[]", b"[1, {}]", b"17", b'"text"', b"null", b"}", b"Traceback (most recent call last):", b'"schema":1,"kind":1}']
)
not_utf8 = st.builds(lambda line: line[:-1] + b',"x":"\xff\xfe"}', ours)
control = st.builds(lambda line, byte: line[:-1] + b',"x":"' + bytes([byte]) + b'"}', ours, st.sampled_from([0, 8, 9]))
bad = torn | torn_middle | nuls | garbage | not_utf8 | control

Parts = list[tuple[bool, bytes]]
lines: st.SearchStrategy[Parts] = st.one_of(
    st.builds(lambda bom, line, end: [(True, bom + line), (True, end)], st.sampled_from([b"", BOM]), good, ends),
    st.builds(lambda line, end: [(False, line), (True, end)], bad, ends),
    # Glued: whole ones of any form, and ours behind anything torn.
    st.builds(
        lambda first, space, second, end: [(True, first + space + second), (True, end)],
        good,
        st.sampled_from([b"", b" ", b"\r", BOM]),
        good,
        ends,
    ),
    st.builds(
        lambda first, nul, second, end: [(True, first), (False, nul), (True, second), (True, end)],
        good,
        nuls,
        good,
        ends,
    ),
    st.builds(lambda nul, line, end: [(False, nul), (True, line), (True, end)], nuls, good, ends),
    st.builds(
        lambda first, line, end: [(False, first), (True, line), (True, end)],
        torn_end | nuls | garbage | not_utf8 | control,
        ours,
        ends,
    ),
    st.builds(
        lambda line, tail, end: [(True, line), (False, tail), (True, end)], good, torn_end | not_utf8 | control, ends
    ),
)
tails: st.SearchStrategy[Parts] = st.one_of(
    st.just([]), good.map(lambda line: [(True, line)]), torn_end.map(lambda line: [(False, line)])
)


def objects(text: bytes) -> Iterator[dict[str, Any]]:
    left = text.decode().replace("\ufeff{", "{").strip()
    while left:
        found, end = json.JSONDecoder().raw_decode(left)
        yield found
        left = left[end:].lstrip(" \t\r\n\ufeff")


@settings(max_examples=300)
@given(parts=st.lists(lines, max_size=6), tail=tails)
def test_of_a_damaged_file_every_good_record_comes_back_and_every_other_byte_is_named(
    parts: list[Parts], tail: Parts, tmp_path_factory: pytest.TempPathFactory
) -> None:
    layout = [piece for line in [*parts, tail] for piece in line]
    path = tmp_path_factory.mktemp("journal") / "runs.jsonl"
    content = b"".join(text for _, text in layout)
    found, damaged = read(path, content)
    assert found == [record for is_good, text in layout if is_good for record in objects(text)]
    # No byte twice, and of the bytes that are not named none is left but good records and white space.
    assert damaged == sorted(damaged)
    assert all(start < end <= following for (start, end), (following, _) in pairwise([*damaged, (len(content), 0)]))
    named = {offset for start, end in damaged for offset in range(start, end)}
    position = 0
    for is_good, text in layout:
        blank = len(BLANK.match(text)[0])  # type: ignore[index]
        for offset in range(blank, len(text.rstrip(b" \t\r\n"))):
            assert (position + offset in named) is not is_good
        position += len(text)


def test_nothing_that_stands_inside_a_torn_record_comes_out(path: Path) -> None:
    for cut in range(1, len(NESTED)):
        for head in (b"", b"\0\0\0", b'{"kind":"run",,', b"garbage "):
            assert read(path, head + NESTED[cut:] + b"\n")[0] == []
        for tail in (b"", b"\n", b"\0\0\0\n"):
            assert read(path, NESTED[:cut] + tail) == ([], [(0, cut + len(tail))])


def test_a_record_behind_torn_bytes_is_read_only_where_it_begins_as_ours_do(path: Path) -> None:
    assert read(path, b'{"kind":"ru{"schema": 2, "kind": "run"}\n') == ([{"schema": 2, "kind": "run"}], [(0, 11)])
    assert read(path, b'{"kind":"ru{"kind":"run"}\n') == ([], [(0, 26)])
    assert read(path, b'garbage {"kind":"run"}\n') == ([], [(0, 23)])


def test_whole_records_of_any_form_glued_together_are_read_with_what_is_torn_behind_them(path: Path) -> None:
    assert read(path, b'{"a":1}{"b":{"c":2}} \0\0 {"d":3}{"e":') == (
        [{"a": 1}, {"b": {"c": 2}}, {"d": 3}],
        [(21, 24), (31, 36)],
    )


def test_numbers_that_json_has_not_become_none_and_the_record_is_kept(path: Path) -> None:
    line = b'{"a":NaN,"b":[Infinity,-Infinity,1e999],"c":"NaN"}\n'
    assert read(path, line) == ([{"a": None, "b": [None, None, None], "c": "NaN"}], [])


def test_halves_of_characters_do_not_lose_the_record(path: Path) -> None:
    assert read(path, b'{"a":"x\\ud800","b":"\\ud83d\\ude00"}\n') == ([{"a": "x?", "b": "😀"}], [])


def test_large_whole_numbers_stay_what_they_are(path: Path) -> None:
    assert read(path, b'{"id":%d}\n' % 2**127) == ([{"id": 2**127}], [])


def test_scanning_gives_strict_json_with_every_record(path: Path) -> None:
    path.write_bytes(BOM + b'{"a":1}\n{"a":NaN}{"a":2}  \n[]\n')
    found = [item if isinstance(item, Damage) else item.line.strip() for item in scan(path)]
    assert found[:3] == [b'{"a":1}', b'{"a": null}', b'{"a":2}']
    assert isinstance(found[3], Damage)
    assert len(found) == 4
    content = path.read_bytes()
    assert [content[item.start : item.end].strip(b" \n") for item in scan(path)] == [
        b'{"a":1}',
        b'{"a":NaN}',
        b'{"a":2}',
        b"[]",
    ]


def test_a_line_of_many_megabytes_costs_no_more_than_a_few_times_its_size(path: Path) -> None:
    size = 20_000_000
    path.write_bytes(b'{"kind":"run","text":"' + b"x" * size + b"\n" + b'{"kind":"run"}\n' + b"\0" * size)
    tracemalloc.start()
    found, damage = read_journal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [{"kind": "run"}]
    assert len(damage) == 2
    assert peak < 8 * size


# Several files, and packed ones.


def test_the_files_of_a_journal_are_read_in_their_order_whether_packed_or_not(path: Path) -> None:
    records = [{"schema": 1, "n": n, "pad": "x" * 80} for n in range(100)]
    write(path, *records, rotate_mb=0.002)
    for file in journal_files(path)[:3]:
        Path(f"{file}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    assert read_journal(path) == (records, [])
    assert read_journal(f"{path}.gz") == (records, [])
    # One that stands there both ways counts once.
    last = journal_files(path)[-1]
    Path(f"{last}.gz").write_bytes(gzip.compress(last.read_bytes())[:-9])
    assert read_journal(path) == (records, [])


def test_other_names_do_not_belong_to_a_journal(path: Path) -> None:
    names = [
        "runs.1.jsonl",
        "runs.0000.jsonl",
        "runs.00001.jsonl",
        "runsx0001.jsonl",
        "runs.0001.txt",
        "runs.jsonl.bak",
    ]
    for name in [*names, "runs.0002.jsonl", "runs.10000.jsonl.gz"]:
        path.with_name(name).touch()
    assert [file.name for file in journal_files(path)] == ["runs.0002.jsonl", "runs.10000.jsonl.gz"]
    assert journal_files(path.parent / "not" / "there.jsonl") == []


def test_a_journal_that_is_not_there_is_an_error_that_names_it(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"runs\.jsonl"):
        read_journal(path)


def test_a_packed_journal_cut_anywhere_gives_the_records_before_and_says_so(path: Path) -> None:
    records = [{"schema": 1, "kind": "run", "n": n} for n in range(50)]
    write(path, *records)
    text = path.read_bytes()
    packed = gzip.compress(text[:700]) + gzip.compress(text[700:])
    path.unlink()
    file = Path(f"{path}.gz")
    file.write_bytes(packed)
    assert read_journal(file) == (records, [])
    counts = set()
    for cut in range(0, len(packed)):
        file.write_bytes(packed[:cut])
        found, damage = read_journal(file)
        assert found == records[: len(found)]
        counts.add(len(found))
        # Between the two it is a sound file of its own.
        if cut != len(gzip.compress(text[:700])):
            assert damage[-1].reason == (
                "the gzip stream breaks off here (it was cut); bytes count in the unpacked text"
            )
            assert damage[-1].end >= len(text[: damage[-1].end])
    assert len(counts) > 20


def test_a_packed_journal_damaged_anywhere_gives_what_stands_before_and_says_so(path: Path) -> None:
    records = [{"schema": 1, "kind": "run", "n": n} for n in range(50)]
    write(path, *records)
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    file = Path(f"{path}.gz")
    most = 0
    for at in range(10, len(packed)):
        file.write_bytes(packed[:at] + bytes([packed[at] ^ 0xFF]) + packed[at + 1 :])
        found, damage = read_journal(file)
        assert "the gzip stream breaks off here" in damage[-1].reason
        most = max(most, len(found))
    # What was packed behind the damaged byte may have come out as something else.
    assert most >= 50
    assert "the text before it may be damaged too" in damage[-1].reason
    file.write_bytes(b"no gzip at all")
    assert "incorrect header check" in read_journal(file)[1][0].reason


# Reading along.


def test_following_gives_what_there_is_and_ends_once_it_is_stopped(path: Path) -> None:
    write(path, *SMALL, rotate_mb=0.0001)
    stop = threading.Event()
    stop.set()
    assert list(follow(path, stop=stop)) == SMALL
    assert list(follow(path, stop=stop, from_start=False)) == []


def test_following_goes_through_writers_files_and_a_journal_that_is_not_there_yet(path: Path) -> None:
    got: list[dict[str, Any]] = []
    stop = threading.Event()
    reader = threading.Thread(target=lambda: got.extend(follow(path, poll_s=0.001, stop=stop)))
    reader.start()

    def append(who: int) -> None:
        with JournalWriter(path, rotate_mb=0.01) as journal:
            for n in range(300):
                journal.append({"who": who, "n": n, "pad": "x" * 50})

    writers = [threading.Thread(target=append, args=(who,)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    reader.join()
    assert len(journal_files(path)) > 5
    for who in range(4):
        assert [record["n"] for record in got if record["who"] == who] == list(range(300))


def test_a_line_that_is_still_being_written_is_waited_for_and_damage_passed_over(path: Path) -> None:
    path.write_bytes(b'garbage\n{"n":1}\n{"n":')
    got: list[dict[str, Any]] = []
    stop = threading.Event()
    reader = threading.Thread(target=lambda: got.extend(follow(path, poll_s=0.001, stop=stop)))
    reader.start()
    with path.open("ab", buffering=0) as file:
        for piece in (b"2", b"3", b"}", b'\n{"n":3}\n\0\0\n'):
            time.sleep(0.005)
            file.write(piece)
    stop.set()
    reader.join()
    assert got == [{"n": 1}, {"n": 23}, {"n": 3}]


def test_following_from_now_on_begins_with_the_first_line_that_ends_after_the_call(path: Path) -> None:
    path.write_bytes(b'{"n":1}\n{"n":')
    news = follow(path, poll_s=0.001, from_start=False)
    with path.open("ab") as file:
        file.write(b'2}\n{"n":3}\n')
    assert list(islice(news, 2)) == [{"n": 2}, {"n": 3}]


def test_a_file_packed_meanwhile_is_not_read_twice_and_one_that_began_anew_is(path: Path) -> None:
    write(path, *SMALL)
    news = follow(path, poll_s=0.001)
    assert list(islice(news, 3)) == SMALL
    Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    with JournalWriter(path) as journal:
        journal.append({"n": 1})
    assert next(news) == {"schema": 1, "n": 1}
    path.with_name("runs.0001.jsonl").write_bytes(b'{"n":2}\n')
    assert next(news) == {"n": 2}
