"""Masks what must not be written into a journal: keys to other people's services, passwords, e-mail addresses.

Shapes and names are recognised, not meanings: a secret of no known shape under an innocent name stays, and so does one
inside ``bytes``, which a journal holds as base64.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

from causalkit.plainness import UniqueNames

_LOOKS = 4
_MARK = re.compile(r"\[masked: (?:e-mail|api key|bearer token|secret)\]")


def mask_secrets(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a record without API keys, tokens, passwords and e-mail addresses.

    Parameters
    ----------
    record : mapping
        Made of dicts, lists, texts and numbers, as JSON has them.

    Returns
    -------
    dict
        The same, with a mark such as ``[masked: api key]`` in place of each secret, in keys as in values.

    Examples
    --------
    >>> mask_secrets({"question": "mail bob@example.org", "api_key": "abc", "max_tokens": 5})
    {'question': 'mail [masked: e-mail]', 'api_key': '[masked: api key]', 'max_tokens': 5}
    """
    names = UniqueNames()
    return {names.unique(_masked_text(key)): _masked_under(key, value) for key, value in record.items()}


def may_hold_secrets(line: bytes) -> bool:
    """Return False only if `mask_secrets` would change nothing in the record that a line of JSON holds.

    Examples
    --------
    >>> may_hold_secrets(b'{"max_tokens":5}'), may_hold_secrets(b'{"to":"bob@example.org"}')
    (False, True)
    """
    return _HINT.search(line.translate(_FOLD, _NEEDLESS)) is not None


# Case is folded but for S: only so does ASIA, the start of an AWS key, differ from the "sia" of many words.
_FOLD = bytes(range(256)).lower()[: ord("S")] + b"S" + bytes(range(256)).lower()[ord("S") + 1 :]
# What no hint has is left out before the search, which costs more for each character than leaving out.
_NEEDLESS = bytes(set(range(256)) - set(b"@-_:=abdefhijklmnoprstuwxyzABDEFHIJKLMNOPRSTUWXYZ"))
# One hint for every shape and name below, each beginning with a letter that is rare in records; a name counts only
# before its ":" or "=", so that max_tokens and keywords are no hint.
_HINT = re.compile(
    rb"@|k(?:-|en[:=]|ia|_[lt]|ey(?:-|b|[sS]?[:=])|ie[sS]?[:=])|w(?:(?<=[sS]w)(?:or)?|(?<=pw))d[sS]?[:=]|h(?:[pourfsS]_|ub_pat|ra[sS]e[:=])"
    rb"|z(?<=aiz)a|xox|yj|ypi-|re(?:t[sS]?[:=]|dential[sS]?[:=])|pm_|pat-|bearer|ba[sS]i|zation[:=]|Sia"
)

# Texts within texts show their line ends as \n, which must not pass for the letter n.
_EDGE = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
_API_KEY = re.compile(
    _EDGE
    + r"""(?:
    sk-(?:[A-Za-z0-9]{20,} | (?:proj|ant|svcacct|admin|test|live|or)-(?:[\w-]{16,}|(?=[\w-]{0,200}?[0-9])[\w-]{8,})
        | (?=[\w-]{0,200}?(?:[0-9][A-Za-z]|[A-Za-z][0-9]|[0-9]{6}))[\w-]{16,})
    | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{16,}
    | xox[a-z]-[A-Za-z0-9-]{10,} | AIza[\w-]{30,} | hf_[A-Za-z0-9]{20,}
    | [sr]k_(?:live|test)_[A-Za-z0-9]{10,} | npm_[A-Za-z0-9]{30,} | pypi-(?=[\w-]{0,200}?[A-Z])[\w-]{16,}
    )""",
    re.ASCII | re.VERBOSE,
)
_JWT = re.compile(_EDGE + r"eyJ[\w-]{6,}\.[\w-]{6,}(?:\.[\w-]*)?", re.ASCII)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:.*?-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|.*)",
    re.DOTALL,
)
_LOGIN_IN_URL = re.compile(r"(?<=://)[^\s/@:\"']*+:[^\s/?#\"']+@")
_LOGIN = re.compile(
    r"(?<![\w.%+-])[\w.%+-]++:[^\s:@/\"']{1,256}@"
    r"(?=localhost\b|\d+\.\d+\.\d+\.\d+|tcp\(|[\w.-]{1,256}(?::\d{2,5}(?!\w)|/\w))"
)
# A name of a git server and a method called on a matrix product (x@w.sum()) are no addresses.
_E_MAIL = re.compile(r"(?<![\w.%+-])(?!git@)[\w.%+-]++@(?:[\w-]++\.)+[^\W\d_]{2,}+(?!\((?:\)|-?\d|\w+=))")
_BEARER = re.compile(
    r"(bearer\s{1,9})(?:(?=[\w.~+/=-]{0,200}?[0-9])[\w.~+/=-]{6,}|[\w.~+/=-]{16,}"
    r"|(?=\w{0,200}?(?-i:[a-z][A-Z]))[\w.~+/=-]{6,})",
    re.ASCII | re.IGNORECASE,
)
_BASIC = re.compile(r"(basic\s{1,9})([A-Za-z0-9+/_-]{4,}={0,2})", re.ASCII | re.IGNORECASE)

_COUNTED = "per first last next pad eos bos unk sep cls mask stop end start special max min"
_STRONG = (
    r"passwords?|passwd|pwd|passphrase|api[ _.-]?keys?|(?:access|private|secret|signing|encryption|auth)[ _.-]?keys?"
)
_STRONG += r"|(?:access|refresh|auth|session|bearer|id|csrf)[ _.-]?token|client[ _.-]?secret"
_WEAK = "secrets?|authorization|credentials?|(?=token)" + "".join(
    f"(?<!{word})(?<!{word}[ _.-])" for word in _COUNTED.split()
)
_WEAK += "token"
_NAME = re.compile(rf"(?:{_STRONG}|{_WEAK}|cookies?)\Z", re.ASCII | re.IGNORECASE)
_SAID = r"\\{0,3}[\"'\]]{0,2}[ ]{0,9}(?:=>|:=|[:=])(?!=)[ \t]{0,9}"
_QUOTED = r"(?P<quote>\\{0,3}[\"'])(?P<inside>(?:(?!(?P=quote))(?:\\.|[^\n]))++)(?P<end>(?P=quote)?)"
_WORD = r"(?:[^\s\"'&;,)}\]\\]++|\\(?![nrt\"'])|[,)}\]](?=[^\s\"',;)}\]\\]))"
# What stands for a value in code, schemas and manuals: types, nothing, calls, look-ups, placeholders.
_NO_VALUE = r"""(?!\[masked:\s
    | (?:None|null|nil|true|false|str|string|bytes|int|undefined)\b(?![\w-])
    | [\[({] | <[\w\s-]{1,40}> | \*+(?![^\s,;"')]) | \$\{ | (?-i:\$[A-Z_]{3,}(?!\w))
    | [A-Za-z_.]{1,80}+(?:\([^()\n]{0,80}\)|\[["'][^"'\n]{0,80}["']\])
    )"""
_AFTER_NAME = re.compile(
    rf"""(?<!\[masked:[ ])(?<!\[masked:[ ]bearer[ ])
    (?:(?P<strong>{_STRONG}) | (?P<weak>{_WEAK}) | (?P<cookie>cookies?))
    (?P<said>{_SAID})
    (?:{_QUOTED}
    | {_NO_VALUE}
      (?P<scheme>(?:bearer|basic|token|apikey|key|digest|negotiate)[ ]{{1,9}}(?=\S){_NO_VALUE})?(?!\[masked:\s)
      (?(cookie)(?:(?P<jar>[^\s"'=;]{{1,200}}=[^\n"']+)|(?P<crumb>{_WORD}++))|(?P<word>{_WORD}++))
    )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def _masked_under(key: str, value: Any) -> Any:
    if _NAME.search(key) and not _tells_nothing(key, value):
        if isinstance(value, str) and value[:7].lower() == "bearer ":
            return "[masked: bearer token]"
        return _mark(key)
    return _masked(value)


def _tells_nothing(key: str, value: Any) -> bool:
    if isinstance(value, str):
        return not value or _MARK.fullmatch(value) is not None
    # How many cookies or secrets there were is no secret.
    return value is None or isinstance(value, bool) or (isinstance(value, int | float) and key[-1:] in "sS")


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _masked_text(value)
    if isinstance(value, Mapping):
        return mask_secrets(value)
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value


def _masked_text(text: str) -> str:
    # A mask may lay bare what was glued to the secret; the second look almost always finds nothing.
    for _ in range(_LOOKS):
        # Almost no text of a record holds a hint, and each search costs more than this.
        if not may_hold_secrets(text.encode("utf-8", "replace")):
            break
        before = text
        for pattern, replacement in _SHAPES:
            text = pattern.sub(replacement, text)
        if text == before:
            break
    return text


def _mark(name: str) -> str:
    return "[masked: api key]" if "api" in name.lower() else "[masked: secret]"


def _named(match: re.Match[str]) -> str:
    name, said, inside = match[0][: match.start("said") - match.start()], match["said"], match["inside"]
    if inside is not None:
        kept = _MARK.fullmatch(inside) or re.fullmatch(r"<[\w\s-]{1,40}>|\*+|\$?\{[\w.]*\}", inside)
        return match[0] if kept else f"{name}{said}{match['quote']}{_mark(name)}{match['end']}"
    value = match["jar"] or match["crumb"] or match["word"]
    # "The secret: practice" is prose; a value has a digit or is longer than words are.
    prose = not match["strong"] and not match["jar"] and not match["scheme"] and "=" not in said
    if prose and len(value) < 16 and not re.search(r"[0-9]", value):
        return match[0]
    return f"{name}{said}{match['scheme'] or ''}{_mark(name)}"


def _basic(match: re.Match[str]) -> str:
    coded = match[2].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        login = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode()
    except ValueError:
        return match[0]
    return f"{match[1]}[masked: secret]" if ":" in login and login.isprintable() else match[0]


_SHAPES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_PRIVATE_KEY, "[masked: secret]"),
    (_LOGIN_IN_URL, "[masked: secret]@"),
    (_BASIC, _basic),
    (_BEARER, r"\1[masked: bearer token]"),
    (_AFTER_NAME, _named),
    (_API_KEY, "[masked: api key]"),
    (_JWT, "[masked: bearer token]"),
    (_LOGIN, "[masked: secret]@"),
    (_E_MAIL, "[masked: e-mail]"),
)
