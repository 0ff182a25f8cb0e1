from __future__ import annotations

import copy
import inspect
import traceback

import pytest

from causalkit import errors
from causalkit.errors import (
    CausalkitError,
    ExecutionError,
    FitError,
    GraphError,
    InsufficientDataError,
    RecordingNotFoundError,
    TraceCollectionError,
    ValidationError,
)

FAMILY = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


@pytest.mark.parametrize("error", FAMILY)
def test_every_error_is_of_the_one_family_and_says_what_it_is_for(error: type[Exception]) -> None:
    assert issubclass(error, CausalkitError)
    assert inspect.getdoc(error)


@pytest.mark.parametrize("error", FAMILY)
def test_facts_are_attributes_and_the_sentence_is_the_text(error: type[CausalkitError]) -> None:
    raised = error("column 'x' is missing", column="x", row=3)
    assert str(raised) == "column 'x' is missing"
    assert (raised.column, raised.row) == ("x", 3)


def test_a_fact_that_is_not_carried_is_an_ordinary_missing_attribute() -> None:
    raised = GraphError("no such node", node="x")
    assert not hasattr(raised, "cycle")
    with pytest.raises(AttributeError, match="GraphError carries no fact named 'cycle'"):
        _ = raised.cycle


def test_who_catches_the_wider_error_catches_the_narrower() -> None:
    assert issubclass(InsufficientDataError, ValidationError)
    assert issubclass(ValidationError, FitError)
    assert issubclass(ExecutionError, TraceCollectionError)
    assert issubclass(RecordingNotFoundError, FileNotFoundError)


def test_an_error_can_be_copied_and_formatted() -> None:
    raised = FitError("column 'x' is missing", column="x")
    assert copy.copy(raised).column == "x"
    assert traceback.format_exception_only(raised) == ["causalkit.errors.FitError: column 'x' is missing\n"]
