"""Functions that are known by their source alone, and what an isolated child makes of them.

The child imports this module, so it imports little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from causalkit.collect.functions import BoundFunction, bind_function, check_function

ENTRY = "causalkit.collect.isolated_steps:prepare_sources"


@dataclass(frozen=True)
class SourceFunction:
    """The source of a node's function with what is needed to bind it, none of it run yet.

    Parameters
    ----------
    node : str
        The node that the function computes.
    source : str
        Source text with everything the function needs.
    parents : sequence of str
        The parents of the node.
    parent_names : mapping of str to str, optional
        Parents by parameter, where names differ: the node's entry in ``parameter_map``.

    Examples
    --------
    >>> SourceFunction("y", "def y(x): return -x", ["x"]).bind()({"x": 2})
    -2
    """

    node: str
    source: str
    parents: Sequence[str]
    parent_names: Mapping[str, str] = field(default_factory=dict)

    def bind(self) -> BoundFunction:
        """Execute the source **in this process** and bind the function to its parents."""
        return bind_function(self.node, check_function(self.node, self.source), self.parents, self.parent_names)


def prepare_sources(
    setup: Sequence[Mapping[str, Any]],
) -> Iterator[Callable[[Mapping[str, list[Any]], int], Iterator[Any]]]:
    """Yield for each source a callable from columns of its parents to its results; the child calls this.

    Parameters
    ----------
    setup : sequence of mappings
        The fields of each `SourceFunction`.

    Yields
    ------
    callable
        `BoundFunction.over` of the function.

    Examples
    --------
    >>> (over,) = prepare_sources([{"node": "y", "source": "def y(x): return -x", "parents": ["x"]}])
    >>> list(over({"x": [2]}, 1))
    [-2]
    """
    for fields in setup:
        yield SourceFunction(**fields).bind().over
