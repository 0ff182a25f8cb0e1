from __future__ import annotations

import matplotlib as mpl
import pytest

from causalkit.plots import style
from tests.plots.artists import OKABE_ITO


def test_colours_are_the_seven_and_black_of_okabe_and_ito() -> None:
    shipped = {mpl.colors.to_hex(colour) for colour in mpl.color_sequences["okabe_ito"]}
    assert shipped <= OKABE_ITO | {"#000000", "#56b4e9"}
    assert OKABE_ITO | {"#000000"} >= shipped


@pytest.mark.parametrize(
    ("node", "label"),
    [
        ("rank_ms", "rank_ms (milliseconds)"),
        ("vram_mb", "vram_mb (megabytes)"),
        ("wait_s", "wait_s (seconds)"),
        ("cost_usd", "cost_usd (US dollars)"),
        ("candidates", "candidates"),
    ],
)
def test_an_axis_says_the_unit_that_a_name_ends_in(node: str, label: str) -> None:
    assert style.axis_label(node) == label
