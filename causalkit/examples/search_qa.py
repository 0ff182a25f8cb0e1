"""A workflow that answers a question from the documentation: parse, search, rerank, compose, check.

Every step is a plain function of a state and the index; what it returns is merged into the state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from difflib import SequenceMatcher, get_close_matches
from time import perf_counter_ns
from typing import Any, NamedTuple

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from causalkit.errors import CausalkitError
from causalkit.examples.search_index import Hit, SearchIndex, Sentence, split_words

State = MutableMapping[str, Any]
Step = Callable[[State, SearchIndex], dict[str, Any] | None]
BestThree = Callable[[Mapping[str, float], Sequence[Sentence]], list[float]]

KNOBS: dict[str, tuple[Any, ...]] = {
    "candidates": (40, 80, 120, 160, 200),
    "rerank_depth": (4, 8, 12, 16, 20, 24, 28, 32, 36, 40),
    "cache": (False, True),
    "corpus_size": (1250, 2500, 3750, 5000),
    "answer_sentences": (2, 4, 6, 8),
}
"""What a recorder draws each knob from."""
DEFAULT_KNOBS: dict[str, Any] = {
    "candidates": 120,
    "rerank_depth": 20,
    "cache": False,
    "corpus_size": 3750,
    "answer_sentences": 4,
}

# sklearn's list drops words that name operations here.
OPERATIONS = {"bottom", "describe", "empty", "fill", "first", "last", "move", "top"}
STOP_WORDS = (ENGLISH_STOP_WORDS - OPERATIONS) | {
    "doe", "don", "give", "help", "know", "like", "make", "need", "please", "possible", "tell", "thi", "use",
    "used", "using", "wa", "want", "way", "work",
}  # fmt: skip
LEAST_SCORE = 0.2
"""Above the best score of the failing questions of ``questions.jsonl``, below the worst of the others."""
MOST_TERMS = 16
MOST_FORMS = 4
CLOSE_ENOUGH = 0.8
KEY_TERMS = 14
"""Terms that are aligned: fewer are joined by words of the best hits, so that cost follows depth alone."""
FEEDBACK_HITS = 10
FEEDBACK_WEIGHT = 0.02
ALIGNED_SENTENCES = 12
GAP = 0.02
POOL_DOCUMENTS = 4
POOL_SENTENCES = 24
NOVELTY = 0.4
"""How much of a sentence's worth is lost when it repeats one already chosen."""
VERIFIED_FROM = 0.9
ON_TOPIC_FROM = 0.2
"""Share of the terms' weight that a sentence must carry to count as an answer to the question."""


class EmptyQuestionError(CausalkitError):
    """A question without a word to search for (``.question``)."""


class NoDocumentError(CausalkitError):
    """A question that no document speaks of (``.terms``, ``.best_score``)."""


class TimeLimitError(CausalkitError):
    """A run that takes longer than it may (``.time_limit_ms``, ``.elapsed_ms``, ``.reranked``)."""


class Ranked(NamedTuple):
    """A reranked document: its number in the index and its score, 0 to 1."""

    number: int
    score: float


class Cited(NamedTuple):
    """A sentence of the answer and the number of the document it was taken from."""

    text: str
    number: int


def parse_question(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Find the terms of ``question``, misspelt ones corrected, and other forms the corpus has of them."""
    question = state["question"]
    words = dict.fromkeys(word for word in split_words(question) if word not in STOP_WORDS)
    if not words:
        raise EmptyQuestionError(
            f"the question {question!r} has no word to search for: name what you want to know",
            question=question,
        )
    forms = [_forms(word, runtime) for word in list(words)[:MOST_TERMS]]
    terms = dict.fromkeys(known[0] for known in forms)
    variants = dict.fromkeys(other for known in forms for other in known[1:] if other not in terms)
    return {"terms": tuple(terms), "variants": tuple(variants)}


def web_search(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Retrieve candidate documents for ``terms``, from memory when ``cache`` is on."""
    find = runtime.recall if state["cache"] else runtime.search
    hits = find(state["terms"], state["corpus_size"], state["candidates"], state["variants"])
    best_score = max((hit.score for hit in hits), default=0.0)
    if best_score < LEAST_SCORE:
        terms = state["terms"]
        raise NoDocumentError(
            f"no document speaks of {' '.join(terms)} (best score {best_score:.2f}, needed {LEAST_SCORE}): "
            "ask about the libraries of the corpus",
            terms=terms,
            best_score=best_score,
        )
    return {"hits": hits}


def rerank(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Score the first ``rerank_depth`` hits anew by aligning the terms with their sentences."""
    return rerank_by(best_three, state, runtime)


def compose_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Write the answer from the sentences that say most and repeat each other least."""
    chat = state.get("mode") == "chat"
    length = max(1, state["answer_sentences"] // 2) if chat else state["answer_sentences"]
    numbers = [entry.number for entry in state["ranked"][:POOL_DOCUMENTS]]
    chosen = select_sentences(numbers, runtime.weights(state["terms"]), length, runtime)
    sources = list(dict.fromkeys(cited.number for cited in chosen))
    marked = [f"{cited.text} [{sources.index(cited.number) + 1}]" for cited in chosen]
    return {
        "final_answer": " ".join(marked) if chat else "\n".join(f"- {line}" for line in marked),
        "citations": [runtime.documents[number].url for number in sources],
        "cited_sentences": tuple(chosen),
    }


def check_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Verify that every sentence stands in the document it cites and speaks of ``terms``.

    ``checked`` is the share of sentences verified.
    """
    weights = runtime.weights(state["terms"])
    return {
        "checked": _share(
            is_verified(cited, [runtime.sentences[cited.number]], weights) for cited in state["cited_sentences"]
        )
    }


class SlowRelease:
    """A release of the workflow with a defect in it, to be found from its traces."""

    @staticmethod
    def check_answer(state: State, runtime: SearchIndex) -> dict[str, Any]:
        """Verify every sentence of the answer against all reranked documents instead of the one it cites."""
        weights = runtime.weights(state["terms"])
        sources = [runtime.sentences[entry.number] for entry in state["ranked"]]
        return {"checked": _share(is_verified(cited, sources, weights) for cited in state["cited_sentences"])}


STEPS: tuple[Step, ...] = (parse_question, web_search, rerank, compose_answer, check_answer)
SLOW_CHECK_STEPS: tuple[Step, ...] = (*STEPS[:-1], SlowRelease.check_answer)


def warm(runtime: SearchIndex, questions: Iterable[str]) -> None:
    """Fill the cache of the index, so that ``cache=True`` finds every one of these questions there.

    Questions that fail to parse are left out: they never reach the search.
    """
    for question in questions:
        try:
            parsed = parse_question({"question": question}, runtime)
        except EmptyQuestionError:
            continue
        for corpus_size in KNOBS["corpus_size"]:
            runtime.recall(parsed["terms"], corpus_size, max(KNOBS["candidates"]), parsed["variants"])


def rerank_by(best: BestThree, state: State, runtime: SearchIndex) -> dict[str, Any]:
    """Rerank with one's own way to the three best alignments of a document."""
    hits = state["hits"]
    key_terms = _key_terms(runtime.weights(state["terms"]), hits)
    limit_ms = state.get("time_limit_ms")
    ranked: list[Ranked] = []
    for hit in hits[: state["rerank_depth"]]:
        if limit_ms is not None:
            _keep_to(limit_ms, state["started_ns"], len(ranked))
        ranked.append(Ranked(hit.number, _fine_score(hit, key_terms, runtime, best)))
    return {"ranked": tuple(sorted(ranked, key=lambda entry: (-entry.score, entry.number)))}


def select_sentences(
    numbers: Sequence[int], weights: Mapping[str, float], length: int, runtime: SearchIndex
) -> list[Cited]:
    """Choose sentences one by one: the most telling that repeats least of those chosen before."""
    pool = [
        (_told(sentence, weights) / (1 + place / 4), sentence, number)
        for place, number in enumerate(numbers)
        for sentence in _most_telling(runtime.sentences[number], weights)
    ]
    chosen: list[tuple[Sentence, int]] = []
    repeated = [0.0] * len(pool)
    while pool and len(chosen) < length:
        best = max(range(len(pool)), key=lambda i: pool[i][0] - NOVELTY * repeated[i])
        _, sentence, number = pool.pop(best)
        repeated.pop(best)
        chosen.append((sentence, number))
        matcher = SequenceMatcher(None, b=sentence.words, autojunk=False)
        for i, (_, other, _) in enumerate(pool):
            matcher.set_seq1(other.words)
            repeated[i] = max(repeated[i], matcher.ratio())
    return [Cited(sentence.text, number) for sentence, number in chosen]


def is_verified(cited: Cited, sources: Iterable[Sequence[Sentence]], weights: Mapping[str, float]) -> bool:
    """Tell whether a sentence stands in one of the sources and is about the question."""
    on_topic = sum(weights.get(word, 0.0) for word in set(split_words(cited.text))) >= ON_TOPIC_FROM
    return max(contained(cited.text, source) for source in sources) >= VERIFIED_FROM and on_topic


def contained(text: str, sentences: Sequence[Sentence]) -> float:
    """Return the largest share of a text's words that stand in one of the sentences in the same order."""
    words = split_words(text)
    matcher = SequenceMatcher(None, b=words, autojunk=False)
    best = 0.0
    for sentence in sentences:
        matcher.set_seq1(sentence.words)
        matched = sum(block.size for block in matcher.get_matching_blocks())
        best = max(best, matched / max(1, len(words)))
    return best


def best_three(key_terms: Mapping[str, float], sentences: Sequence[Sentence]) -> list[float]:
    """Return how well the terms align with the three sentences they align with best."""
    return sorted((aligned(key_terms, part.words) for part in sentences), reverse=True)[:3]


def aligned(key_terms: Mapping[str, float], words: Sequence[str]) -> float:
    """Return the weight of the best local alignment of the terms with a sentence (Smith-Waterman)."""
    best = 0.0
    above = [0.0] * (len(words) + 1)
    for term, weight in key_terms.items():
        row = [0.0]
        stem = term[:4]
        for i, word in enumerate(words):
            gain = weight if word == term else weight / 2 if word.startswith(stem) else -GAP
            row.append(max(0.0, above[i] + gain, above[i + 1] - GAP, row[i] - GAP))
        best = max(best, *row)
        above = row
    return best


def _forms(word: str, runtime: SearchIndex) -> list[str]:
    """Return the closest words of the corpus, the word itself first if the corpus has it."""
    likely = [other for other in runtime.spellings.get(word[0], ()) if abs(len(other) - len(word)) <= 2]
    return get_close_matches(word, likely, n=MOST_FORMS, cutoff=CLOSE_ENOUGH) or [word]


def _keep_to(limit_ms: float, started_ns: int, reranked: int) -> None:
    elapsed_ms = (perf_counter_ns() - started_ns) / 1e6
    if elapsed_ms > limit_ms:
        raise TimeLimitError(
            f"the run took {elapsed_ms:.1f} ms of {limit_ms} ms after reranking {reranked} documents: "
            "lower rerank_depth or candidates, or raise time_limit_ms",
            time_limit_ms=limit_ms,
            elapsed_ms=elapsed_ms,
            reranked=reranked,
        )


def _key_terms(weights: Mapping[str, float], hits: Sequence[Hit]) -> dict[str, float]:
    """Keep the terms that tell most, in the order of the question, and add what the best hits speak of."""
    kept = sorted(weights, key=lambda term: -weights[term])[:KEY_TERMS]
    key_terms = {term: weight for term, weight in weights.items() if term in kept}
    spoken = Counter(word for hit in hits[:FEEDBACK_HITS] for word in split_words(hit.snippet))
    feedback = [word for word, _ in spoken.most_common() if word not in weights and word not in STOP_WORDS]
    return key_terms | dict.fromkeys(feedback[: KEY_TERMS - len(key_terms)], FEEDBACK_WEIGHT)


def _fine_score(hit: Hit, key_terms: Mapping[str, float], runtime: SearchIndex, best: BestThree) -> float:
    """Blend what retrieval said with the best alignment, the mean of the best three and that of the name."""
    top = best(key_terms, runtime.sentences[hit.number][:ALIGNED_SENTENCES])
    name = aligned(key_terms, split_words(runtime.documents[hit.number].name))
    return 0.3 * hit.score + 0.3 * max(top, default=0.0) + 0.2 * sum(top) / max(1, len(top)) + 0.2 * name


def _most_telling(sentences: Sequence[Sentence], weights: Mapping[str, float]) -> list[Sentence]:
    return sorted(sentences, key=lambda sentence: -_told(sentence, weights))[:POOL_SENTENCES]


def _told(sentence: Sentence, weights: Mapping[str, float]) -> float:
    return sum(weights[word] for word in sentence.bag.intersection(weights))


def _share(verdicts: Iterable[bool]) -> float:
    listed = list(verdicts)
    return sum(listed) / max(1, len(listed))
