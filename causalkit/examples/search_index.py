"""The index the example workflows search: documents as sentences, words and character n-grams."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from causalkit.examples.corpus import Document

NGRAMS = (3, 5)
"""Character n-grams find a word with a typo in it, and "group by" in "groupby"."""
REFERENCES = re.compile(r"(?ms)^References?\n-{3,}\n.*?(?=^\w[^\n]*\n-{3,}$|\Z)")
"""Titles of papers match questions well and answer none."""
SNIPPET_WORDS = 12
LONGEST_SENTENCE = 40
"""Words: what is longer is a table or a listing rather than a sentence, and is cut."""
SHORTEST_SENTENCE = 4


class Sentence(NamedTuple):
    """A sentence as it is shown, its words as they are compared, and these as a set."""

    text: str
    words: tuple[str, ...]
    bag: frozenset[str]


class Hit(NamedTuple):
    """A document that was found: its number in the index, its score and its best passage."""

    number: int
    score: float
    snippet: str


@dataclass(frozen=True, eq=False, repr=False)
class SearchIndex:
    """What a search needs, computed once; safe to use from several threads.

    Examples
    --------
    >>> index = SearchIndex.build([Document("demo.merge", "doc://demo/merge", "Merge two tables on a key.")])
    >>> index
    SearchIndex(1 documents)
    >>> [hit.number for hit in index.search(["merge"], corpus_size=10, candidates=5)]
    [0]
    """

    documents: tuple[Document, ...]
    sentences: tuple[tuple[Sentence, ...], ...]
    bags: tuple[frozenset[str], ...]
    rarity: Mapping[str, float]
    spellings: Mapping[str, Sequence[str]]
    vectorizer: TfidfVectorizer
    matrix: csr_array
    _found: dict[tuple[tuple[str, ...], tuple[str, ...], int], tuple[Hit, ...]] = field(default_factory=dict)
    _lock: Any = field(default_factory=Lock)

    @classmethod
    def build(cls, documents: Iterable[Document]) -> SearchIndex:
        """Split, count and vectorise the documents."""
        documents = tuple(documents)
        sentences = tuple(split_sentences(document.text) for document in documents)
        titles = [" ".join(split_words(document.name)) for document in documents]
        bags = tuple(
            frozenset(title.split()).union(*(part.bag for part in parts))
            for title, parts in zip(titles, sentences, strict=True)
        )
        rarity = _rarity(bags)
        vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True, dtype=np.float32, lowercase=False
        )
        # The name counts twice: a question mostly asks for a thing by what it is called.
        texts = (
            f"{title} {title} " + " ".join(word for sentence in parts for word in sentence.words)
            for title, parts in zip(titles, sentences, strict=True)
        )
        matrix = csr_array(vectorizer.fit_transform(texts))
        return cls(documents, sentences, bags, rarity, _spellings(rarity), vectorizer, matrix)

    def search(
        self, terms: Sequence[str], corpus_size: int, candidates: int, variants: Sequence[str] = ()
    ) -> tuple[Hit, ...]:
        """Return the best candidates among the first documents, best first, each with its best passage.

        Documents are compared by whole words, where a variant of a term counts half, and by n-grams.
        """
        query = self.vectorizer.transform([" ".join(terms)]).toarray().ravel()
        told = self._words_told(corpus_size, self.weights(terms, variants))
        scores = (self._first_rows(corpus_size) @ query + told) / 2
        best = np.argsort(-scores, kind="stable")[:candidates]
        weights = self.weights(terms)
        hits = (self._prepare(int(number), float(scores[number]), weights) for number in best)
        return tuple(sorted(hits, key=lambda hit: (-hit.score, hit.number)))

    def recall(
        self, terms: Sequence[str], corpus_size: int, candidates: int, variants: Sequence[str] = ()
    ) -> tuple[Hit, ...]:
        """Return what ``search`` returns, from memory if it was asked before for as many candidates."""
        key = (tuple(terms), tuple(variants), min(corpus_size, len(self.documents)))
        with self._lock:
            found = self._found.get(key, ())
        if len(found) < min(candidates, key[2]):
            found = self.search(terms, corpus_size, candidates, variants)
            with self._lock:
                self._found[key] = found
        return found[:candidates]

    def weights(self, terms: Iterable[str], variants: Iterable[str] = ()) -> dict[str, float]:
        """Return how much each word tells: its rarity as a share of that of all terms, half for a variant."""
        rarity = {term: self.rarity.get(term, self.rarity[""]) for term in terms}
        total = sum(rarity.values())
        weights = {variant: self.rarity[variant] / total / 2 for variant in variants}
        return weights | {term: value / total for term, value in rarity.items()}

    def _words_told(self, size: int, weights: Mapping[str, float]) -> list[float]:
        words = frozenset(weights)
        # Forms of one term in one document tell no more than the term itself would.
        return [min(1.0, sum(map(weights.__getitem__, bag & words))) for bag in self.bags[:size]]

    def _first_rows(self, size: int) -> csr_array:
        if size >= len(self.documents):
            return self.matrix
        # Views of the three arrays: slicing the matrix itself would copy them at every search.
        end = self.matrix.indptr[size]
        parts = (self.matrix.data[:end], self.matrix.indices[:end], self.matrix.indptr[: size + 1])
        return csr_array(parts, shape=(size, self.matrix.shape[1]))

    def _prepare(self, number: int, score: float, weights: Mapping[str, float]) -> Hit:
        words = frozenset(weights)
        told = [sum(map(weights.__getitem__, part.bag & words)) for part in self.sentences[number]]
        if not told:
            return Hit(number, score, "")
        best = max(range(len(told)), key=told.__getitem__)
        return Hit(number, (score + told[best]) / 2, _passage(self.sentences[number][best], weights))

    def __repr__(self) -> str:
        return f"SearchIndex({len(self.documents)} documents)"


def split_words(text: str) -> list[str]:
    """Return the words of a text as they are compared: lower case, without a plural's s.

    Examples
    --------
    >>> split_words("Sort DataFrames by_values")
    ['sort', 'dataframe', 'by', 'value']
    """
    return [_singular(word) for word in re.findall(r"[^\W\d_][^\W_]+", text.lower())]


def split_sentences(text: str) -> tuple[Sentence, ...]:
    r"""Return the sentences of a docstring, without its headings, references, code and tables.

    Examples
    --------
    >>> [part.text for part in split_sentences("Merge two tables by key. See the guide too.\n\n>>> f()")]
    ['Merge two tables by key.', 'See the guide too.']
    """
    text = REFERENCES.sub("", text)
    text = re.sub(r"(?m)^.*\n[ ]*[-=~]{3,}$", "\n\n", text)
    prose = "\n".join(line for line in text.splitlines() if not re.match(r"\s*(>>>|\.\. |\.\.\. |[*|+-]{3})", line))
    pieces = re.split(r"(?:\s*\n){2,}|(?<=[.!?])\s+", prose)
    sentences = []
    for piece in pieces:
        shown = piece.split()[:LONGEST_SENTENCE]
        words = tuple(split_words(" ".join(shown)))
        if len(words) >= SHORTEST_SENTENCE:
            sentences.append(Sentence(" ".join(shown), words, frozenset(words)))
    return tuple(sentences)


@lru_cache(maxsize=100_000)
def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "is", "us")) else word


def _passage(sentence: Sentence, weights: Mapping[str, float]) -> str:
    """Cut the stretch of a sentence that says most about the terms."""
    shown = sentence.text.split()
    told = [sum(weights.get(word, 0.0) for word in split_words(part)) for part in shown]
    starts = range(max(1, len(shown) - SNIPPET_WORDS + 1))
    start = max(starts, key=lambda first: sum(told[first : first + SNIPPET_WORDS]))
    return " ".join(shown[start : start + SNIPPET_WORDS])


def _rarity(bags: Sequence[frozenset[str]]) -> dict[str, float]:
    """Return each word's inverse document frequency; "" holds that of a word no document has."""
    documents_with = Counter(word for bag in bags for word in bag)
    rarity = {word: log((1 + len(bags)) / (1 + n)) + 1 for word, n in documents_with.items()}
    return {"": log(1 + len(bags)) + 1, **rarity}


def _spellings(rarity: Mapping[str, float]) -> dict[str, list[str]]:
    by_initial: dict[str, list[str]] = {}
    for word in sorted(filter(None, rarity)):
        by_initial.setdefault(word[0], []).append(word)
    return by_initial
