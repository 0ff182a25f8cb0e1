"""Models in files: one zip of JSON, arrays and skops files, written whole or not at all, read without running it.

::

    model.json          graph, mechanisms, report, settings, versions, and the SHA-256 of every other member
    table.npy           one row per node, one column per run
    blocks.npy  index.npy  observed/*.npy  residuals/*.npy
    learners/*.skops    fitted learners of scikit-learn
    (the zip's comment)  what the file is, and the SHA-256 of model.json

The checksums find damage. They keep nobody out who means harm: against that stands that no member is ever pickle or
code, that learners may only be of a fixed list of types, and that all sizes are looked at before anything is unpacked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo, is_zipfile

from causalkit.errors import CausalkitError, ModelFormatError
from causalkit.scm.model import FittedSCM
from causalkit.scm.storage_document import read_model, write_model

SCHEMA = 1
_KIND = "causalkit.scm"
_MODEL = "model.json"
_KNOWN = re.compile(r"model\.json|(table|blocks|index|(observed|residuals)/\d+)\.npy|learners/\d+\.skops")
# Unpacked, in all: ten thousand nodes of fifty thousand rows. More is a mistake or a trap.
_MAX_BYTES = 4 * 2**30
# Deflate shrinks nothing by more than this (RFC 1951): what claims to be smaller lies about its size.
_MAX_RATIO = 1032


def save(scm: FittedSCM, path: str | Path) -> None:
    """Write a model to a file; see `FittedSCM.save`.

    Raises
    ------
    CausalkitError
        If the model holds what such a file cannot hold (``.node``, ``.attribute``).
    OSError
        If the file cannot be written; what was there before stays.

    Examples
    --------
    >>> import tempfile
    >>> import networkx as nx, numpy as np, pandas as pd
    >>> from causalkit.scm.fitter import SCMFitter
    >>> x, noise = np.arange(200.0) % 9, np.random.default_rng(0).normal(size=200)
    >>> scm = SCMFitter(random_seed=0).fit(nx.DiGraph([("x", "y")]), pd.DataFrame({"x": x, "y": 3 * x + noise}))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     scm.save(f"{folder}/model.scm")
    ...     load(f"{folder}/model.scm").sample(50).equals(scm.sample(50))
    True
    """
    document, members = write_model(scm)
    hashes = {name: _hash(data) for name, data in members.items()}
    model = json.dumps({"kind": _KIND, "schema": SCHEMA, **document, "members": hashes}).encode()
    # Through a link, so that the link stays one.
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise CausalkitError(f"{path} is a folder; name a file in it, such as model.scm", path=path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("xb") as stream:
            _write_zip(stream, {_MODEL: model, **members}, f"{_KIND} {_hash(model)}")
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def load(path: str | Path) -> FittedSCM:
    """Read a model from a file; see `FittedSCM.load`.

    Raises
    ------
    ModelFormatError
        If the file is no model, is damaged, was written by a newer causalkit, or holds what is not trusted (``.path``).
    OSError
        If the file cannot be opened.
    """
    with Path(path).open("rb") as stream:
        try:
            return _read(stream)
        except _ForeignError as error:
            raise ModelFormatError(f"{path} {error}", path=Path(path)) from error
        except Exception as error:
            # Whatever a crafted or damaged file upsets in zip, JSON, NumPy, skops or scikit-learn: it is the file.
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
            raise ModelFormatError(
                f"{path} holds no usable model: {reason}; fit the model again, or take another copy of the file",
                path=Path(path),
            ) from error


class _ForeignError(Exception):
    """What is wrong with a file as a whole, and what to do, as the end of a sentence that begins with its name."""


def _read(stream: BinaryIO) -> FittedSCM:
    if not is_zipfile(stream):
        raise _ForeignError("is no model, or the end of one is missing; give a file that FittedSCM.save wrote, whole")
    with ZipFile(stream) as archive:
        infos = archive.infolist()
        _check_sizes(infos)
        names = [info.filename for info in infos]
        kind, _, expected = archive.comment.decode("ascii", "replace").partition(" ")
        if kind != _KIND or names.count(_MODEL) != 1:
            raise _ForeignError("is a zip file but no model; give a file that FittedSCM.save wrote")
        model = archive.read(_MODEL)
        if _hash(model) != expected:
            raise _ForeignError("was altered after it was saved (model.json); take another copy or fit the model again")
        document = json.loads(model)
        _check_schema(document)
        return read_model(document, _members(archive, names, document["members"]))


def _check_schema(document: Mapping[str, Any]) -> None:
    schema = document["schema"]
    if document["kind"] != _KIND or type(schema) is not int or schema < 1:
        raise _ForeignError(f"is of an unknown kind (schema {schema!r}); give a file that FittedSCM.save wrote")
    if schema > SCHEMA:
        made = document.get("versions", {}).get("causalkit", "a newer one")
        raise _ForeignError(
            f"was written by a newer causalkit ({made}, schema {schema}; this one reads up to {SCHEMA}); update "
            "causalkit or fit the model again"
        )


def _check_sizes(infos: list[ZipInfo]) -> None:
    total = sum(info.file_size for info in infos)
    if total > _MAX_BYTES or any(info.file_size > _MAX_RATIO * info.compress_size + 64 for info in infos):
        raise _ForeignError(f"claims to unpack to {total:,} bytes, which no model of its size does; do not trust it")
    if any(info.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or info.flag_bits & 1 for info in infos):
        raise _ForeignError("is compressed or encrypted in a way that causalkit does not write; do not trust it")


def _members(archive: ZipFile, names: list[str], hashes: Mapping[str, str]) -> dict[str, bytes]:
    expected = [_MODEL, *hashes]
    unknown = {name for name in names if not _KNOWN.fullmatch(name)}
    if unknown or sorted(names) != sorted(expected):
        wrong = sorted(unknown or set(names) ^ set(expected)) or names
        raise _ForeignError(f"has members missing or added ({', '.join(wrong[:3])}); take another copy of the file")
    members = {}
    for name, expected_hash in hashes.items():
        members[name] = archive.read(name)
        if _hash(members[name]) != expected_hash:
            raise _ForeignError(f"was altered after it was saved ({name}); take another copy or fit the model again")
    return members


def _write_zip(stream: BinaryIO, members: Mapping[str, bytes], comment: str) -> None:
    with ZipFile(stream, "w", ZIP_DEFLATED) as archive:
        archive.comment = comment.encode()
        for name, data in members.items():
            # A fixed date: the same model is the same file.
            archive.writestr(ZipInfo(name), data, ZIP_DEFLATED)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
