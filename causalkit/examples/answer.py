"""The example workflows behind their router, as one function of a question: what a regression run asks."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from causalkit.examples import corpus
from causalkit.examples.lessons import STEPS as LESSON_STEPS
from causalkit.examples.router import route
from causalkit.examples.search_index import SearchIndex
from causalkit.examples.search_qa import DEFAULT_KNOBS, STEPS
from causalkit.workflows.executor import GraphExecutor
from causalkit.workflows.tracer import Tracer

_TOLD = ("final_answer", "citations", "checked", "lesson_explain_structured")


def answer(question: str, tracer: Tracer | None = None) -> dict[str, Any]:
    """Answer a question, or write a lesson if the router takes it for a wish for one.

    Parameters
    ----------
    question : str
    tracer : Tracer, optional
        Records the run.

    Returns
    -------
    dict
        ``workflow``, ``final_answer``, ``citations``, ``checked``, and of a lesson ``lesson_explain_structured``.

    Raises
    ------
    EmptyQuestionError, NoDocumentError
        If the question cannot be answered.

    Examples
    --------
    >>> answer("teach me group by")["workflow"]
    'lesson_pack'
    """
    chosen = route(question).workflow
    executor = GraphExecutor({"search_qa": STEPS, "lesson_pack": LESSON_STEPS}, tracer or Tracer())
    state = executor.execute(chosen, {"question": question, **DEFAULT_KNOBS}, _index())
    return {"workflow": chosen, **{name: state[name] for name in _TOLD if name in state}}


def warm() -> None:
    """Build the index, which takes seconds, and answer once."""
    answer("how do I sort a table by two columns?")


def corpus_hash() -> str:
    """Return the hash of the documents that answers are taken from.

    Examples
    --------
    >>> len(corpus_hash())
    64
    """
    return corpus.corpus_hash(_index().documents)


@lru_cache(maxsize=1)
def _index() -> SearchIndex:
    return SearchIndex.build(corpus.read_corpus())
