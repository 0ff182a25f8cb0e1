"""Every recording of another tool that lies beside the checkout is read whole or refused; no damage breaks a reader."""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from causalkit.errors import CausalkitError, TraceFormatError
from causalkit.workflows.readers import spans
from causalkit.workflows.readers.recognising import read_traces
from causalkit.workflows.records import read_record
from causalkit.workflows.traces import DamagedJournalWarning, Traces
from tests.workflows.readers.counted import Counted, counted

_FOLDER = Path(__file__).parents[4] / "shared/data/traces"
SAMPLES = sorted(file.relative_to(_FOLDER).as_posix() for file in _FOLDER.rglob("*") if file.is_file())
# Far above what a sample takes, and far below what a hang would.
_LONGEST_S = 10.0
_ODD: list[Any] = [
    None, True, "", "x" * 50_000, "\ud800", -1, 0.5, 10**40, float("nan"), float("inf"), [], {}, [[]], [None], {"": {}},
    {"key": 1}, "1969-12-31T00:00:00Z", "99999-01-01", "NaN", "[" * 2_000, 2**63, "é\0\u2028",
]  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_a_recording_is_read_with_all_that_its_raw_json_holds_or_refused_by_name(shared_data: Path, name: str) -> None:
    path = shared_data / "traces" / name
    expected = counted(path)
    if expected is None:
        with pytest.raises(TraceFormatError, match=r"expected|left out") as refused:
            read_traces(path)
        assert refused.value.path == str(path)
        assert str(path) in str(refused.value)
        return

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedJournalWarning)
        assert _measured(read_traces(path)) == expected


def test_no_damage_to_a_recording_breaks_or_hangs_its_reader(
    shared_data: Path, tmp_path: Path, proof: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [shared_data / "traces" / name for name in SAMPLES]
    path = tmp_path / "traces"
    read = refused = 0
    for number in range(2_000 if proof else 300):
        chance = random.Random(number)  # noqa: S311  # the same damage each time
        path.write_bytes(_mutated(chance.choice(files), chance))
        began = time.process_time()
        with monkeypatch.context() as patched, warnings.catch_warnings():
            warnings.simplefilter("ignore", DamagedJournalWarning)
            if not proof and number % 30:
                patched.setattr(spans, "_opened", _checked)
            try:
                list(read_traces(path))
                read += 1
            except _Written:
                read += 1
            except CausalkitError:
                refused += 1
            except Exception as error:
                error.add_note(f"on mutation {number}")
                raise
        assert time.process_time() - began < _LONGEST_S, f"mutation {number}"

    assert min(read, refused) > 50


class _Written(Exception):  # noqa: N818  # it is none
    """The spans are all in the journal, and each of its lines is a record."""


def _checked(journal: Path, *_: Any) -> None:
    """Stand for the opening of the journal, which takes most of the time: its lines must be what it takes."""
    for line in journal.read_bytes().splitlines():
        record, wrong = read_record(json.loads(line))
        assert record is not None, wrong
        assert not wrong
    raise _Written


def _measured(traces: Traces) -> Counted:
    """Count what was read; a run that is no span stands for steps whose root never came."""
    runs = list(traces)
    told: list[Any] = [run for run in runs if "causalkit.span_id" in run.attributes]
    told += [step for run in runs for step in run.steps]
    failed = [one for one in told if not one.success and "it did not end" not in one.notes]
    tokens = (sum(one.attributes.get(f"gen_ai.usage.{way}_tokens", 0) for one in told) for way in ("input", "output"))
    return Counted(len(runs), len(told), len(failed), *tokens)


def _mutated(file: Path, chance: random.Random) -> bytes:
    raw = file.read_bytes()
    if chance.random() < 0.7:
        raw = _in_zip(raw, chance) if raw[:2] == b"PK" else _in_json(raw, chance)
    if chance.random() < 0.4:
        raw = _in_bytes(raw, chance)
    if chance.random() < 0.1:
        raw = gzip.compress(raw)
        raw = _in_bytes(raw, chance) if chance.random() < 0.5 else raw
    return raw


def _in_bytes(raw: bytes, chance: random.Random) -> bytes:
    first, second = sorted(chance.randrange(len(raw) + 1) for _ in range(2))
    near = min(second, first + 40)
    ways = (
        lambda: raw[:first],
        lambda: raw[:first] + raw[near:],
        lambda: raw[:near] + raw[first:near] + raw[near:],
        lambda: raw[:first] + chance.randbytes(20) + raw[first:],
        lambda: raw[:first] + bytes(near - first) + raw[near:],
        lambda: raw[first:second],
        lambda: raw[:first].replace(b'"', b"'", 3) + raw[first:],
        lambda: raw + raw[first:near] + raw,
        lambda: raw[:first] + b"\n" + raw[first:].replace(b"\n", b""),
        lambda: raw.decode("utf-8", "replace").encode("utf-16"),
    )
    return chance.choice(ways)()


def _in_zip(raw: bytes, chance: random.Random) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as fresh:
        for name in old.namelist():
            fresh.writestr(name, _in_json(old.read(name), chance))
    return whole.getvalue()


def _in_json(raw: bytes, chance: random.Random) -> bytes:
    lines = raw.splitlines()
    try:
        documents = [json.loads(raw)]
    except ValueError:
        try:
            documents = [json.loads(line) for line in lines]
        except ValueError:
            return raw
    places = list(_places(documents))
    for holder, name in chance.choices(places, k=chance.choice((1, 1, 3, 20))):
        if isinstance(holder, dict) and chance.random() < 0.3:
            # It may have been renamed before.
            holder[chance.choice(("", "x", "id", "spans", "attributes"))] = holder.pop(name, None)
        elif chance.random() < 0.2:
            other, where = chance.choice(places)
            holder[name] = copy.deepcopy(other[where] if isinstance(other, list) else other.get(where))
        else:
            holder[name] = copy.deepcopy(chance.choice(_ODD))
    return "\n".join(map(json.dumps, documents)).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in list(inside):
        yield value, name
        yield from _places(one)
