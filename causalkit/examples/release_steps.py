"""Steps of `search_qa` as another release may have them: slower, faster, or failing for some inputs.

Each maker takes an amount of work, and the more of it the more time the step takes, or saves. What a step returns stays
what it was; but one that fails returns nothing, and one with another memory what the knob ``cache`` on or off returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from itertools import chain, cycle, islice
from math import inf
from typing import Any, NamedTuple
from zlib import crc32

from causalkit.errors import CausalkitError
from causalkit.examples import search_qa
from causalkit.examples.search_index import SearchIndex, Sentence, split_words
from causalkit.examples.search_qa import State, Step

MakeStep = Callable[[float], Step]


class BrokenStepError(CausalkitError):
    """A step that cannot deal with an input it should deal with (``.step``, ``.words``)."""


class Kind(NamedTuple):
    """One way in which a step can change, from how many standard deviations of its time to how many.

    The most that its maker takes is ``limit``: where the amount is a share, it is 1.
    """

    step: str
    what: str
    make: MakeStep
    least: float
    most: float
    limit: float = inf


def costlier_parsing(amount: float) -> Step:
    """Compare every word with ``amount`` thousand words of any initial, as if its first letter could be misspelt."""

    def parse_question(state: State, runtime: SearchIndex) -> dict[str, Any]:
        parsed = search_qa.parse_question(state, runtime)
        likely = list(islice(cycle(chain.from_iterable(runtime.spellings.values())), round(1000 * amount)))
        for word in split_words(state["question"]):
            get_close_matches(word, likely, n=search_qa.MOST_FORMS, cutoff=search_qa.CLOSE_ENOUGH)
        return parsed

    return parse_question


def smaller_memory(amount: float) -> Step:
    """Search anew for a share of the questions even where ``cache`` is on."""
    return _remembering(lambda cache, terms: cache and not _belongs(terms, amount))


def larger_memory(amount: float) -> Step:
    """Answer a share of the questions from memory even where ``cache`` is off."""
    return _remembering(lambda cache, terms: cache or _belongs(terms, amount))


def larger_corpus(amount: float) -> Step:
    """Search, unremembered, an archive ``amount`` times as large that holds the same documents and so adds none."""

    def web_search(state: State, runtime: SearchIndex) -> dict[str, Any]:
        found = search_qa.web_search(state, runtime) or {}
        for part in _passes(amount):
            size, candidates = (max(1, round(state[knob] * part)) for knob in ("corpus_size", "candidates"))
            runtime.search(state["terms"], size, candidates, state["variants"])
        return found

    return web_search


def slower_reranking(amount: float) -> Step:
    """Align the documents once more, or the first of them, or several times."""

    def rerank(state: State, runtime: SearchIndex) -> dict[str, Any]:
        ranked = search_qa.rerank(state, runtime)
        for part in _passes(amount):
            depth = round(state["rerank_depth"] * part)
            search_qa.rerank({"hits": state["hits"], "terms": state["terms"], "rerank_depth": depth}, runtime)
        return ranked

    return rerank


def bounded_reranking(amount: float) -> Step:
    """Leave out sentences that cannot be among a document's best three, in the last ``amount`` (a share) of it."""

    def best_three(key_terms: Mapping[str, float], sentences: Sequence[Sentence]) -> list[float]:
        first = round((1 - amount) * len(sentences))
        top = search_qa.best_three(key_terms, sentences[:first])
        bounds = [(_at_most(key_terms, part), part.words) for part in sentences[first:]]
        for bound, words in sorted(bounds, key=lambda entry: -entry[0]):
            if len(top) == 3 and bound <= top[-1]:
                break
            top = sorted([*top, search_qa.aligned(key_terms, words)], reverse=True)[:3]
        return top

    def rerank(state: State, runtime: SearchIndex) -> dict[str, Any]:
        return search_qa.rerank_by(best_three, state, runtime)

    return rerank


def longer_drafts(amount: float) -> Step:
    """Write a draft ``amount`` times as long as the answer before the answer itself."""

    def compose_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
        asked = {key: state[key] for key in ("ranked", "terms", "mode")}
        length = round(state["answer_sentences"] * amount)
        search_qa.compose_answer({**asked, "answer_sentences": length}, runtime)
        return search_qa.compose_answer(state, runtime)

    return compose_answer


def wider_check(amount: float) -> Step:
    """Look for every sentence of the answer in ``amount`` times all reranked documents as well."""

    def check_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
        others = [entry.number for entry in state["ranked"]]
        for cited in state["cited_sentences"]:
            for number in islice(cycle(others), round(amount * len(others))):
                search_qa.contained(cited.text, runtime.sentences[number])
        return search_qa.check_answer(state, runtime)

    return check_answer


def verbatim_check(amount: float) -> Step:
    """Compare the first ``amount`` (a share) of the cited sentences with the one they repeat, if there is one."""

    def check_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
        weights = runtime.weights(state["terms"])
        cited_sentences = state["cited_sentences"]
        verdicts = []
        for i, cited in enumerate(cited_sentences):
            source = runtime.sentences[cited.number]
            repeated = [part for part in source if part.text == cited.text and i < amount * len(cited_sentences)]
            verdicts.append(search_qa.is_verified(cited, [repeated or source], weights))
        return {"checked": sum(verdicts) / max(1, len(verdicts))}

    return check_answer


KINDS = (
    Kind("parse_question", "compares every word with words of other initials too", costlier_parsing, 0.5, 4),
    Kind("web_search", "searches anew for some questions it has in memory", smaller_memory, 0.5, 0.9, 1),
    Kind("web_search", "searches a larger corpus: an archive with the same documents", larger_corpus, 0.5, 4),
    Kind("rerank", "aligns documents in more passes", slower_reranking, 0.5, 4),
    Kind("compose_answer", "writes a longer draft first", longer_drafts, 0.5, 4),
    Kind("check_answer", "checks against other reranked documents too", wider_check, 0.5, 4),
    Kind("web_search", "answers some questions from memory with the cache off", larger_memory, -0.9, -0.5, 1),
    Kind("rerank", "leaves out sentences that cannot matter", bounded_reranking, -1, -0.5, 1),
    Kind("check_answer", "compares with the cited sentence alone", verbatim_check, -0.8, -0.5, 1),
)


def failing(step: Step, words: Sequence[str]) -> Step:
    """Return the step as it is, but for questions with one of the words: there it fails."""

    @wraps(step)
    def broken(state: State, runtime: SearchIndex) -> dict[str, Any] | None:
        terms = split_words(state["question"]) if step is search_qa.parse_question else state["terms"]
        if met := [word for word in words if word in terms]:
            name = step.__name__
            raise BrokenStepError(
                f"{name} cannot deal with {' or '.join(met)}: ask with other words", step=name, words=met
            )
        return step(state, runtime)

    return broken


def _remembering(remembered: Callable[[bool, Sequence[str]], bool]) -> Step:
    def web_search(state: State, runtime: SearchIndex) -> dict[str, Any] | None:
        asked = {key: state[key] for key in ("terms", "variants", "corpus_size", "candidates")}
        return search_qa.web_search({**asked, "cache": remembered(state["cache"], asked["terms"])}, runtime)

    return web_search


def _belongs(terms: Sequence[str], share: float) -> bool:
    """Tell whether a question is one of a share of all questions: the same ones in every process."""
    return crc32(" ".join(terms).encode()) < share * 2**32


def _passes(amount: float) -> Iterator[float]:
    while amount > 0:
        yield min(1.0, amount)
        amount -= 1


def _at_most(key_terms: Mapping[str, float], sentence: Sentence) -> float:
    """Bound an alignment: as if every term that occurs counted in full, whatever the order."""
    text = sentence.text.lower()
    return sum(
        weight if term in sentence.bag else weight / 2 if term[:4] in text else 0.0
        for term, weight in key_terms.items()
    )
