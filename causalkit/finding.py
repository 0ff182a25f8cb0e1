"""How every answer shows itself in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


class _Answer(Protocol):
    @property
    def sentence(self) -> str: ...
    @property
    def caveats(self) -> list[str]: ...
    def to_frame(self) -> pd.DataFrame: ...


class Finding:
    """An answer with a ``sentence``, its ``caveats`` and a table: the sentence is its repr, HTML shows all three."""

    def __repr__(self: _Answer) -> str:
        return f"<{type(self).__name__}: {self.sentence}>"

    def _repr_html_(self: _Answer) -> str:
        notes = "".join(f"<li>{escape(caveat)}</li>" for caveat in self.caveats)
        frame = self.to_frame().round(3)
        table = frame.to_html(index=frame.index.name is not None, escape=True, max_rows=_MOST_ROWS)
        return f"<p>{escape(self.sentence)}</p><ul>{notes}</ul>{table}"


_MOST_ROWS = 60
