from __future__ import annotations

from rtgen.inference.card import Card
from train import pages, seven
from train.models import FAMILY, NAMES, SEVEN


def test_every_row_has_as_many_cells_as_the_heading() -> None:
    for rows in seven.story(), seven.worth(pages.cards(), {}), seven.made(pages.cards(), pages._sizes()):
        heading, *others = rows
        assert others
        assert {len(row) for row in others} == {len(heading)}


def test_a_system_that_is_not_there_has_no_figure_of_now() -> None:
    rows = {row[0]: row for row in seven.worth((), {})}
    assert set(rows) == {"system", "`music_vae_melody`", *(f"`{name}`" for name in SEVEN)}
    assert {row[4] for name, row in rows.items() if name != "system"} == {"not trained since"}
    metrics = {"reconstruction_f1": 0.5, "reconstruction_f1_low": 0.4, "reconstruction_f1_high": 0.6}
    card = Card("mlp_vae", "autoencoder", metrics=metrics | {"reconstruction_f1_nearest_training_loop": 0.43})
    row = next(row for row in seven.worth([card], {}) if row[0] == "`mlp_vae`")
    assert row[4:] == ("0.500 (0.400-0.600)", "0.430 (nearest training loop)", "≥ 0.46")


def test_a_model_that_does_not_come_with_rtgen_has_its_figures_from_elsewhere() -> None:
    metrics = {"reconstruction_f1": 0.5, "reconstruction_f1_low": 0.4, "reconstruction_f1_high": 0.6}
    rows = {row[0]: row for row in seven.worth((), {"music_vae": metrics})}
    assert rows["`music_vae`"][4] == "0.500 (0.400-0.600)"
    assert rows["`music_vae_melody`"][4] == "not trained since"


def test_what_ships_of_the_seven_is_in_the_family_and_has_a_preset() -> None:
    assert set(SEVEN) < set(NAMES)
    apart = {card.name for card in pages.cards() if card.family}
    assert apart == {card.name for card in pages.cards() if card.training["config"]["model"] in SEVEN}
    assert {card.family for card in pages.cards()} <= {"", FAMILY}
    modes = {card.name: card.kind.modes for card in pages.cards()}
    of_family = {p.model: p for p in pages.presets() if p.model in apart}
    assert set(of_family) == apart == {*SEVEN} - {"music_vae"} | {"music_vae_melody"}
    assert all(p.mode in modes[p.model] for p in pages.presets())


def test_they_are_small_enough_to_come_with_rtgen() -> None:
    assert sum(pages._sizes().values()) <= 40e6
