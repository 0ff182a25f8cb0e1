from __future__ import annotations

from typing import Any

import pytest

from causalkit.errors import CausalkitError
from causalkit.streams import stream


def test_a_name_draws_the_same_numbers_again() -> None:
    assert stream(1, "x").random(3).tolist() == stream(1, "x").random(3).tolist()


def test_names_draw_apart_even_where_a_short_checksum_would_collide() -> None:
    assert stream(1, "plumless").random() != stream(1, "buckeroo").random()


def test_seeds_draw_apart() -> None:
    assert stream(1, "x").random() != stream(2, "x").random()


def test_without_a_seed_every_stream_is_fresh() -> None:
    assert stream(None, "x").random() != stream(None, "x").random()


@pytest.mark.parametrize("seed", [-1, 1.5, "seven"])
def test_what_cannot_be_a_seed_is_named(seed: Any) -> None:
    with pytest.raises(CausalkitError, match="random_seed") as caught:
        stream(seed, "x")
    assert caught.value.random_seed == seed
