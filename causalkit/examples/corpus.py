"""The documents the example workflows search: the docstrings of installed packages.

The sources are read, never imported, so that reading thousands of docstrings costs seconds and runs nothing.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from causalkit.errors import CausalkitError

PACKAGES = ("pandas", "networkx", "sklearn", "numpy", "dowhy")
SHORTEST_TEXT = 200
"""Characters: below this a docstring is a heading rather than a document."""
SHUFFLE_SEED = 42


@dataclass(frozen=True)
class Document:
    """One docstring.

    Parameters
    ----------
    name : str
        Where it stands, dotted: ``pandas.core.frame.DataFrame.merge``.
    url : str
        What a citation says: ``doc://pandas/DataFrame.merge``.
    text : str
        The docstring, dedented.

    Examples
    --------
    >>> Document("demo.merge", "doc://demo/merge", "Merge two tables.").url
    'doc://demo/merge'
    """

    name: str
    url: str
    text: str


def read_corpus(packages: Sequence[str] = PACKAGES) -> tuple[Document, ...]:
    """Read the public docstrings of installed packages, in an order that mixes the packages.

    Parameters
    ----------
    packages : sequence of str
        Import names; a package that is not installed is left out.

    Returns
    -------
    tuple of Document
        Shuffled by a fixed seed: the first n documents are a fair sample of all packages.

    Raises
    ------
    CausalkitError
        If none of the packages is installed, or none holds a docstring long enough.

    Examples
    --------
    >>> len(read_corpus(["networkx"])) > 500
    True
    """
    first_with_text: dict[str, tuple[str, str, str]] = {}
    for package in packages:
        for module, qualname, text in _docstrings(package):
            first_with_text.setdefault(text, (package, module, qualname))
    if not first_with_text:
        raise CausalkitError(
            f"no docstrings found in {', '.join(packages)}: install at least one of these packages",
            packages=tuple(packages),
        )
    documents = _named(first_with_text)
    random.Random(SHUFFLE_SEED).shuffle(documents)  # noqa: S311 - a fixed mixture, not a secret
    return tuple(documents)


def corpus_hash(documents: Iterable[Document]) -> str:
    """Return the sha256 of the documents in their order: what a recording names its corpus by.

    Examples
    --------
    >>> corpus_hash([Document("demo.merge", "doc://demo/merge", "Merge two tables.")])[:8]
    '0f2647c1'
    """
    digest = hashlib.sha256()
    for document in documents:
        for part in (document.name, document.url, document.text):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def _docstrings(package: str) -> Iterator[tuple[str, str, str]]:
    """Yield (module, qualified name, docstring) of what a package offers to its users."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(folder)
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if any(re.match(r"_?test|conftest", part) for part in parts):
                continue
            module = ".".join((package, *(part for part in parts if part != "__init__")))
            with warnings.catch_warnings():
                # How others escape their strings is not this reader's to report.
                warnings.simplefilter("ignore", SyntaxWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                tree = ast.parse(path.read_text(encoding="utf-8"))
            for qualname, text in _public_docstrings(tree, prefix=""):
                yield module, qualname, text


def _public_docstrings(tree: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If | ast.Try):
            yield from _public_docstrings(node, prefix)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        text = ast.get_docstring(node)
        if text and len(text) >= SHORTEST_TEXT:
            yield prefix + node.name, text
        if isinstance(node, ast.ClassDef):
            yield from _public_docstrings(node, f"{prefix}{node.name}.")


def _named(first_with_text: dict[str, tuple[str, str, str]]) -> list[Document]:
    """Give every document its address: the short one where that is unique, else with its module."""
    uses = Counter((package, qualname) for package, _, qualname in first_with_text.values())
    documents = []
    for text, (package, module, qualname) in first_with_text.items():
        name = f"{module}.{qualname}"
        short = qualname if uses[package, qualname] == 1 else name.removeprefix(f"{package}.")
        documents.append(Document(name, f"doc://{package}/{short}", text))
    return documents
