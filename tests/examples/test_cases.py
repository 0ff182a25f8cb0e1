from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from causalkit.examples.cases import Case, Expected, check_case, reference_cases
from causalkit.scm.client import DoWhyClient
from tests.truth import two_columns

CASES = {case.name: case for case in reference_cases()}


@pytest.fixture(scope="module")
def client() -> Iterator[DoWhyClient]:
    with DoWhyClient() as client:
        yield client


@pytest.mark.parametrize("name", CASES)
def test_each_case_comes_out_as_its_table_says_in_this_process(name: str) -> None:
    result = check_case(CASES[name])
    assert result.passed, result.what


@pytest.mark.parametrize("name", CASES)
def test_each_case_comes_out_as_its_table_says_as_a_request(name: str, client: DoWhyClient) -> None:
    result = check_case(CASES[name], client.ask)
    assert result.passed, result.what


def test_there_are_nine_and_the_same_numbers_each_time() -> None:
    again = reference_cases()
    assert len(again) == len(CASES) == 9
    for case in again:
        pd.testing.assert_frame_equal(case.traces, CASES[case.name].traces)


def test_every_node_of_a_case_has_its_column() -> None:
    assert [case.name for case in CASES.values() if set(case.graph) != set(case.traces)] == []


WRONG = {
    "status": (Expected("warning"), "must be warning"),
    "scores": (Expected(r2_above=0.9999), "R2 of Y must exceed 0.9999"),
    "score": (Expected(r2={"Y": 0.5}), "R2 of Y must be 0.500"),
    "coefficient": (Expected(terms={("Y", "X"): 2.2}), "X in Y must be 2.2"),
    "term": (Expected(terms={("Y", "X^2"): 2.0}), "X^2 in Y must be 2"),
    "warning": (Expected(warns=("leak",)), "must speak of leak"),
    "cause": (Expected(causes={"Q": "X"}), "Q must be explained by X"),
    "effect": (Expected(effect=("X", "Y", 3.0)), "effect must be 3"),
    "line": (Expected(line_r2_below=0.05), "straight line"),
    "failed nodes": (Expected(failed_nodes=("Y",)), "failed nodes"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("remote", [False, True], ids=["here", "as a request"])
def test_a_case_that_comes_out_otherwise_fails_and_says_in_what(what: str, remote: bool, client: DoWhyClient) -> None:
    expected, words = WRONG[what]
    case = replace(CASES["linear_chain"], graph=CASES["noisy_data"].graph, traces=two_columns(0.1), expected=expected)
    result = check_case(case, client.ask if remote else None)
    assert not result.passed
    assert words in result.what
    assert "\n" not in result.what


def test_a_case_of_leakage_fails_where_a_proof_is_expected() -> None:
    case = CASES["perfect_correlation"]
    result = check_case(replace(case, expected=Expected(leak_free=True)))
    assert "must not count as leakage" in result.what


def test_a_case_with_an_unexpected_error_shows_it() -> None:
    case = Case("broken", CASES["noisy_data"].graph, pd.DataFrame({"X": np.arange(200.0)}), Expected())
    result = check_case(case)
    assert not result.passed
    assert "'Y'" in result.what
