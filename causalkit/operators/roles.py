"""Which calls are ensembles and which are judges: by what they are called, never by what they look like."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)
def is_ensemble(operator_type: str, stage: str | None, stage_of_caller: str | None) -> bool:
    """Return whether a call is one of an ensemble.

    Its type says so (``ensemble``, ``EnsembleOperator``, but not ``ensemble_member``), or its stage does
    (``ensemble_1``) and its caller's stage is another: members stand in the stage of their ensemble.

    Examples
    --------
    >>> is_ensemble("VoteEnsemble", None, None), is_ensemble("KNN", "ensemble_1", None)
    (True, True)
    >>> is_ensemble("KNN", "ensemble_1", "ensemble_1"), is_ensemble("ensemble_member", "ensemble_1", "ensemble_1")
    (False, False)
    """
    return _is("ensemble", operator_type, stage, stage_of_caller)


@lru_cache(maxsize=4096)
def is_judge(operator_type: str, stage: str | None, stage_of_caller: str | None) -> bool:
    """Return whether a call is one of a judge, told in the same way.

    Examples
    --------
    >>> is_judge("Judge", None, None), is_judge("function", "judge_1", None), is_judge("function", None, None)
    (True, True, False)
    """
    return _is("judge", operator_type, stage, stage_of_caller)


def _is(word: str, operator_type: str, stage: str | None, stage_of_caller: str | None) -> bool:
    named = operator_type.lower()
    if word in named:
        return "member" not in named
    return stage is not None and stage.lower().startswith(word) and stage != stage_of_caller and "member" not in named
