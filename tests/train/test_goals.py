from __future__ import annotations

import pytest

from train.measures.codes import HELD_OUT
from train.measures.goals import GOALS, Goal, judged
from train.measures.table import Figure, Table


def figures(own: float, other: float | None = None, measure: str = "continue_in_key") -> Table:
    contenders = {"ours": {measure: Figure(own, own, own, 9)}}
    if other is not None:
        contenders[HELD_OUT] = {measure: Figure(other, other, other, 9)}
    return contenders


@pytest.mark.parametrize(("value", "met"), [(0.849, False), (0.85, True), (0.9, True)])
def test_a_bar_by_itself_is_met_from_itself_on(value: float, met: bool) -> None:
    assert Goal("at least", 0.85).met(value, {}, "f1_exact") is met
    assert Goal("at most", 0.85).met(value, {}, "f1_exact") is (value <= 0.85)


@pytest.mark.parametrize(("own", "met"), [(0.95, True), (0.91, False), (0.99, False)])
def test_within_counts_to_either_side_of_another(own: float, met: bool) -> None:
    table = figures(own, 0.94)
    assert judged(table["ours"], "continue_in_key", table) == ("held-out music ± 0.02", "met" if met else "missed")


def test_a_bar_that_was_not_measured_judges_nothing() -> None:
    table = figures(0.5)
    assert judged(table["ours"], "continue_in_key", table)[1] == ""
    assert judged(table["ours"], "generate_density", table) == ("", "")


def test_copying_is_held_against_music() -> None:
    table = figures(0.3, 0.4, "generate_copies")
    assert judged(table["ours"], "generate_copies", table) == ("≤ held-out music", "met")
    assert GOALS["generate_copies"][0].met(0.41, table, "generate_copies") is False


@pytest.mark.parametrize(("bits", "order_3", "met"), [(6.0, 7.0, "met"), (6.0, 5.0, "missed"), (7.6, 9.0, "missed")])
def test_every_goal_of_a_measure_has_to_be_met(bits: float, order_3: float, met: str) -> None:
    table = figures(bits, measure="bits_a_note") | {"Markov, order 3": {"bits_a_note": Figure(order_3, 0, 0, 9)}}
    assert judged(table["ours"], "bits_a_note", table) == ("≤ 7.5, ≤ Markov, order 3", met)


@pytest.mark.parametrize(("own", "met"), [(0.6, "met"), (0.54, "missed")])
def test_a_goal_may_be_so_much_above_another(own: float, met: str) -> None:
    table = figures(own, measure="share") | {"Markov chain": {"share": Figure(0.45, 0, 0, 9)}}
    assert judged(table["ours"], "share", table) == ("≥ 0.5, ≥ Markov chain + 0.1", met)


def test_a_model_may_have_goals_of_its_own() -> None:
    table = figures(0.61, measure="reconstruction_f1")
    assert judged(table["ours"], "reconstruction_f1", table) == ("≥ 0.75", "missed")
    assert judged(table["ours"], "reconstruction_f1", table, "nemui") == ("≥ 0.6", "met")
    bits = figures(2.9, measure="bits") | {"Markov, order 3": {"bits": Figure(3.1, 0, 0, 9)}}
    assert judged(bits["ours"], "bits", bits, "note_lstm") == ("≤ Markov, order 3 - 0.3", "missed")
    assert judged(bits["ours"], "bits", bits) == ("", "")
