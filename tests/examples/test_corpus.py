from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from causalkit.errors import CausalkitError
from causalkit.examples.corpus import SHORTEST_TEXT, Document, corpus_hash, read_corpus


@pytest.fixture(scope="module")
def documents() -> tuple[Document, ...]:
    return read_corpus(["networkx"])


def test_every_document_is_long_enough_public_and_distinct(documents: tuple[Document, ...]) -> None:
    assert all(len(document.text) >= SHORTEST_TEXT for document in documents)
    assert not any(document.name.rsplit(".", 1)[-1].startswith("_") for document in documents)
    for part in ("name", "url", "text"):
        assert len({getattr(document, part) for document in documents}) == len(documents)


def test_tests_of_the_packages_are_left_out(documents: tuple[Document, ...]) -> None:
    assert not any(".tests." in document.name for document in documents)


def test_a_url_names_package_and_object(documents: tuple[Document, ...]) -> None:
    urls = {document.url for document in documents}
    assert {"doc://networkx/pagerank", "doc://networkx/Graph.add_edges_from"} <= urls


def test_reading_twice_gives_the_same_corpus(documents: tuple[Document, ...]) -> None:
    assert corpus_hash(read_corpus(["networkx"])) == corpus_hash(documents)


def test_the_hash_depends_on_the_order(documents: tuple[Document, ...]) -> None:
    assert corpus_hash(documents) != corpus_hash(documents[::-1])


def test_the_first_documents_mix_the_packages() -> None:
    documents = read_corpus(["networkx", "dowhy"])
    share = sum(document.name.startswith("dowhy.") for document in documents) / len(documents)
    first = documents[: len(documents) // 2]
    assert sum(d.name.startswith("dowhy.") for d in first) / len(first) == pytest.approx(share, abs=0.05)


def test_an_absent_package_is_left_out(documents: tuple[Document, ...]) -> None:
    assert read_corpus(["no_such_package", "networkx"]) == documents


def test_no_package_at_all_is_an_error_that_names_them() -> None:
    with pytest.raises(CausalkitError, match="no docstrings found in no_such_package: install") as caught:
        read_corpus(["no_such_package"])
    assert caught.value.packages == ("no_such_package",)


def test_reading_imports_none_of_the_packages() -> None:
    code = (
        "import sys; from causalkit.examples.corpus import read_corpus;"
        "read_corpus(['networkx']); sys.exit('networkx' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
