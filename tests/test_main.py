from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from causalkit.__main__ import main
from causalkit.examples import cases, record

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "causalkit", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_count_of_runs_that_cannot_be_recorded_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    done = run("record", "search_qa", "--runs", "0", "--output", str(tmp_path / "new"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "num_runs is 0; record at least one\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["replay"],
        ["record"],
        ["record", "other"],
        ["record", "search_qa", "--runs", "x"],
        ["check"],
        ["worker", "x"],
    ],
)
def test_a_command_that_is_none_exits_2_and_says_what_there_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m causalkit" in capsys.readouterr().err


def test_what_was_asked_is_handed_on_and_the_counts_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def instead(folder: Path, **options: Any) -> dict[str, Any]:
        given.update(options, folder=folder)
        return {"runs": {"runs": {"total": 5, "failed": 1}, "slow_check": {"total": 1, "failed": 0}}}

    monkeypatch.setattr(record, "record_search_qa", instead)
    assert main(["record", "search_qa", "--runs", "6", "--seed", "9", "--quiet", "--output", str(tmp_path)]) == 0
    assert given == {"folder": tmp_path, "num_runs": 6, "random_seed": 9, "progress": False}
    told = capsys.readouterr().out
    assert told == f"recorded 5 runs (1 failed) and 1 slow_check (0 failed) into {tmp_path}\n"


def test_the_reference_cases_are_told_one_a_line_and_a_failed_one_exits_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chain, *_ = cases.reference_cases()
    good = [chain, replace(chain, name="again")]
    monkeypatch.setattr(cases, "reference_cases", lambda: good)
    assert main(["check", "--cases"]) == 0
    assert [line[:20] for line in capsys.readouterr().out.splitlines()] == [
        "pass  linear_chain: ",
        "pass  again: success",
    ]
    good.append(replace(chain, name="otherwise", expected=cases.Expected("warning")))
    assert main(["check", "--cases"]) == 1
    assert "FAIL  otherwise: success" in capsys.readouterr().out


def test_a_worker_answers_a_request() -> None:
    command = [sys.executable, "-m", "causalkit", "worker"]
    done = subprocess.run(command, cwd=ROOT, input='{"op": "ping"}', capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["status"] == "success"


def test_an_interrupted_command_says_nothing_and_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "record_search_qa", interrupted)
    assert main(["record", "search_qa", "--output", "nowhere"]) == 130


def test_an_output_folder_that_is_a_file_is_one_sentence_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def instead(folder: Path, **_: Any) -> None:
        folder.mkdir()

    (tmp_path / "file").touch()
    monkeypatch.setattr(record, "record_search_qa", instead)
    assert main(["record", "search_qa", "--output", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(tmp_path / "file") in told
