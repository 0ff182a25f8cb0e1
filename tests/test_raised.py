from __future__ import annotations

import os
import sys
import time

import pytest

from causalkit.raised import describe_error


def test_a_recorded_stack_names_no_file_of_this_machine_and_is_bounded() -> None:
    def down(depth: int) -> None:
        if not depth:
            raise RuntimeError("deep")
        down(depth - 1)

    with pytest.raises(RuntimeError) as caught:
        down(200)
    error = describe_error(caught.value)
    assert error is not None
    assert len(error["stack"].splitlines()) == 20
    assert os.sep not in error["stack"]
    assert ".py" not in error["stack"]


def test_a_deep_stack_costs_no_more_than_its_last_frames() -> None:
    def down(depth: int) -> None:
        if depth:
            down(depth - 1)
        raise RuntimeError("deep")

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(RuntimeError) as caught:
            down(10_000)
    finally:
        sys.setrecursionlimit(limit)
    begun = time.thread_time()
    described = describe_error(caught.value)
    assert time.thread_time() - begun < 0.1
    assert described is not None
    assert described["stack"].count("down") == 20


def test_a_long_message_is_cut() -> None:
    described = describe_error(ValueError("x" * 50_000))
    assert described is not None
    assert len(described["message"]) == 10_000


def test_an_error_whose_text_cannot_be_made_is_described_all_the_same() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise KeyError("no text")

    described = describe_error(OddError())
    assert described == {"type": "OddError", "message": "(its text cannot be made: KeyError)", "stack": ""}


def test_a_group_of_errors_names_what_is_in_it() -> None:
    described = describe_error(ExceptionGroup("two failed", [ValueError("a"), KeyError("b")]))
    assert described is not None
    assert described["message"] == "two failed (2 sub-exceptions): ValueError, KeyError"


def test_the_cause_of_an_error_is_named() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("no answer") from KeyError("index")
    described = describe_error(caught.value)
    assert described is not None
    assert described["cause"] == "KeyError: 'index'"


def test_no_error_is_described_as_none() -> None:
    assert describe_error(None) is None
