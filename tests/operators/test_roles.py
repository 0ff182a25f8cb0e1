"""Ensembles and judges are known by what they are called."""

from __future__ import annotations

import pytest

from causalkit.operators.roles import is_ensemble, is_judge


@pytest.mark.parametrize("word", ["ensemble", "judge"])
@pytest.mark.parametrize(
    ("operator_type", "stage", "stage_of_caller", "expected"),
    [
        ("{}", None, None, True),
        ("Vote{}", "any", "any", True),
        ("{}", "{}_1", "{}_1", True),
        ("{}_member", "{}_1", None, False),
        ("function", "{}_1", None, True),
        ("function", "{}", "pipeline", True),
        ("function", "{}_1", "{}_1", False),
        ("function", "{}_2", "{}_1", True),
        ("member", "{}_1", None, False),
        ("function", "after_{}", None, False),
        ("function", None, "{}_1", False),
    ],
)
def test_the_type_says_so_or_a_stage_that_is_not_the_callers(
    word: str, operator_type: str, stage: str | None, stage_of_caller: str | None, expected: bool
) -> None:
    ask = {"ensemble": is_ensemble, "judge": is_judge}
    filled = [text and text.format(word) for text in (operator_type, stage, stage_of_caller)]
    assert ask.pop(word)(*filled) is expected  # type: ignore[arg-type]
    assert ask.popitem()[1](*filled) is False  # type: ignore[arg-type]


def test_capitals_do_not_matter() -> None:
    assert is_ensemble("VoteEnsemble", None, None)
    assert is_judge("LLMJudge", None, None)
    assert is_judge("function", "Judge_1", None)
