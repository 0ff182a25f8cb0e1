"""How strong a hidden common cause has to be: published numbers, and hidden causes made to measure."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causalkit.scm.effects import EffectResult
from causalkit.scm.fitter import SCMFitter
from causalkit.scm.model import FittedSCM
from causalkit.scm.sensitivity import robustness_value

ROWS = 600
GRAPH = nx.DiGraph([("z", "d"), ("z", "y"), ("d", "y")])
RNG = np.random.default_rng(0)
Z, D_NOISE, Y_NOISE = RNG.normal(size=(3, ROWS))


def _table(effect: float = 0.5) -> pd.DataFrame:
    d = Z + D_NOISE
    return pd.DataFrame({"z": Z, "d": d, "y": effect * d - Z + Y_NOISE})


def _fit(
    table: pd.DataFrame, graph: nx.DiGraph = GRAPH, groups: str | None = None, missing: str = "error"
) -> FittedSCM:
    fitter = SCMFitter(on_failure="return", random_seed=0, groups=groups, missing=missing)  # type: ignore[arg-type]
    return fitter.fit(graph, table).trust()


def _robust(effect: EffectResult) -> tuple[float, float]:
    assert effect.robustness is not None
    assert effect.robustness_interval_edge is not None
    return effect.robustness, effect.robustness_interval_edge


def _left(column: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """What a regression on the others leaves of a column, with unit length."""
    design = np.column_stack([np.ones(len(column)), *others])
    left = column - design @ np.linalg.lstsq(design, column, rcond=None)[0]
    return left / np.linalg.norm(left)


def _slope_and_t(table: pd.DataFrame, *others: np.ndarray) -> tuple[float, float]:
    design = np.column_stack([np.ones(len(table)), table["d"], *others])
    y = table["y"].to_numpy()
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ y
    error = y - design @ slopes
    variance = error @ error / (len(y) - design.shape[1]) * inverse[1, 1]
    return slopes[1], slopes[1] / np.sqrt(variance)


def _common_cause(table: pd.DataFrame, strength: float) -> np.ndarray:
    """A hidden cause that explains this share of what z leaves of d, and of what z and d leave of y."""
    d, y = table["d"].to_numpy(), table["y"].to_numpy()
    left_d, left_y = _left(d, Z), _left(y, Z, d)
    own = _left(np.random.default_rng(1).normal(size=ROWS), Z, d, y)
    sign = np.sign(_slope_and_t(table, Z)[0])
    rest = sign * np.sqrt(strength) * left_y + np.sqrt(1 - strength) * own
    return np.sqrt(strength) * left_d + np.sqrt(1 - strength) * rest


@pytest.mark.parametrize(
    ("t", "dof", "value", "edge"),
    # Cinelli & Hazlett 2020, table 1: being harmed, and being a woman, on the attitude to peace in Darfur.
    [(4.18, 783, 0.139, 0.076)],
)
def test_published_robustness_values_come_out(t: float, dof: int, value: float, edge: float) -> None:
    partial_f = t / np.sqrt(dof)
    assert robustness_value(partial_f, dof) == pytest.approx(value, abs=5e-4)
    assert robustness_value(partial_f, dof, stats.t.ppf(0.975, dof - 1)) == pytest.approx(edge, abs=5e-4)


def test_robustness_runs_from_nought_to_one() -> None:
    assert robustness_value(0.0, 100) == 0
    assert robustness_value(0.1, 100, 1.98) == 0
    assert robustness_value(np.inf, 100) == robustness_value(np.inf, 100, 1.98) == 1
    values = [robustness_value(size, 3, 4.3) for size in np.linspace(0, 5, 200)]
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("effect", [0.5, -0.3, 3.0])
def test_a_hidden_cause_of_just_that_strength_brings_the_effect_to_nought(effect: float) -> None:
    table = _table(effect)
    value, _ = _robust(_fit(table).effect("d", "y"))
    assert abs(_slope_and_t(table, Z)[0]) > 0.2
    assert _slope_and_t(table, Z, _common_cause(table, value))[0] == pytest.approx(0, abs=1e-9)
    assert _slope_and_t(table, Z, _common_cause(table, 0.9 * value))[0] * effect > 0


@pytest.mark.parametrize("effect", [0.5, -0.3, 3.0])
def test_a_hidden_cause_of_the_second_strength_makes_the_interval_touch_nought(effect: float) -> None:
    table = _table(effect)
    _, edge = _robust(_fit(table).effect("d", "y"))
    t = _slope_and_t(table, Z, _common_cause(table, edge))[1]
    assert abs(t) == pytest.approx(stats.t.ppf(0.975, ROWS - 4), rel=1e-6)


def test_rows_that_come_in_groups_are_surer_of_less() -> None:
    groups = np.repeat(np.arange(50), ROWS // 50)
    shared = np.random.default_rng(2).normal(size=(2, 50))[:, groups]
    table = _table().assign(question=groups)
    table["d"] += shared[0]
    table["y"] = 0.5 * table["d"] - Z + Y_NOISE + shared[1]
    alone, grouped = _fit(table).effect("d", "y"), _fit(table, groups="question").effect("d", "y")
    assert _robust(grouped)[0] == _robust(alone)[0]
    assert _robust(grouped)[1] < 0.9 * _robust(alone)[1]


def test_two_labels_are_compared_in_the_rows_that_have_one_of_them() -> None:
    mode = np.array(["a", "b", "c"])[np.digitize(Z + D_NOISE, [-0.7, 0.7])]
    table = pd.DataFrame({"z": Z, "d": mode, "y": (mode == "c") - Z + Y_NOISE})
    kept = table[mode != "b"].reset_index(drop=True)
    asked = _fit(table).effect("d", "y", values=("a", "c"))
    alone = _fit(kept.assign(d=kept["d"] == "c")).effect("d", "y")
    assert _robust(asked) == pytest.approx(_robust(alone))


def test_an_outcome_of_labels_counts_as_nought_and_one() -> None:
    table = _table()
    labels = np.where(table["y"] > 0.5, "high", np.where(table["y"] > -1, "middle", "low"))
    shares = _fit(table.assign(y=labels)).effect("d", "y=high")
    switched = _fit(table.assign(y=labels == "high")).effect("d", "y")
    assert _robust(shares) == pytest.approx(_robust(switched))


def test_rows_without_the_outcome_are_left_out() -> None:
    table = _table()
    table.loc[::4, "y"] = np.nan
    assert _robust(_fit(table, missing="model").effect("d", "y")) == pytest.approx(
        _robust(_fit(table, missing="drop").effect("d", "y"))
    )


def test_labels_of_a_common_cause_are_held_fixed_one_by_one() -> None:
    mode = np.digitize(Z, [-0.7, 0.7])
    shift = np.array([0.0, 2.0, -1.0])[mode]
    d = shift + D_NOISE
    table = pd.DataFrame({"z": np.array(["a", "b", "c"])[mode], "d": d, "y": 0.5 * d - 2 * shift + Y_NOISE})
    slope, t = _slope_and_t(table, mode == 1, mode == 2)
    assert slope == pytest.approx(0.5, abs=0.1)
    assert _robust(_fit(table).effect("d", "y"))[0] == pytest.approx(robustness_value(t / np.sqrt(ROWS - 4), ROWS - 4))


def test_where_nothing_varies_there_is_nothing_to_compare() -> None:
    table = _table()
    tied = _fit(table.assign(d=2 * table["z"])).effect("d", "y")
    assert (tied.robustness, tied.robustness_interval_edge) == (None, None)
    assert not any("unmeasured common cause that" in caveat for caveat in tied.caveats)
    still = _fit(table.assign(y=1.0)).effect("d", "y")
    assert (still.robustness, still.robustness_interval_edge) == (0, 0)
    exact = _fit(table.assign(y=2 * table["d"] - table["z"])).effect("d", "y")
    assert exact.robustness == pytest.approx(1)
    assert exact.robustness_interval_edge == pytest.approx(1)
