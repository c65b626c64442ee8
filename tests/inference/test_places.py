"""Where loops lie among others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rtgen.inference.places import dimensions, place
from rtgen.music.attributes import MEAN, NAMES, SD
from rtgen.music.note import Loop
from tests.data.make_tiny import AUTOENCODER
from tests.inference.models import KNOBS, melody, of_role

CODED = of_role("autoencoder")


def test_a_place_is_told_by_what_a_loop_is_like_and_by_the_models_own_dimensions() -> None:
    own = tuple(latent.name for latent in AUTOENCODER.latents)
    assert dimensions(AUTOENCODER) == (*NAMES, *own)
    named = replace(AUTOENCODER, latents=(replace(AUTOENCODER.latents[0], name="register"), *AUTOENCODER.latents[1:]))
    assert dimensions(named) == (*NAMES, *own[1:])
    assert dimensions(of_role("denoiser").card) == NAMES
    assert dimensions(of_role("generator").card) == NAMES


@pytest.mark.parametrize("role", ["denoiser", "autoencoder", "generator", "composer", "drummer"])
def test_places_are_shares_of_the_range(role: str) -> None:
    model = of_role(role)
    here, there, nowhere, long = place(model, (melody(), melody(up=12), Loop(3840), melody(8)), KNOBS)
    assert nowhere == ()
    for found in here, there, long:
        assert len(found) == len(dimensions(model.card))
        assert all(0 <= share <= 1 for share in found)
    register = NAMES.index("register")
    assert there[register] - here[register] == pytest.approx(12 / SD[register] / 5, abs=1e-3)


def test_an_attribute_in_the_middle_of_music_is_in_the_middle() -> None:
    loop = melody()
    to = MEAN[NAMES.index("velocity")]
    middle = loop.with_notes(replace(n, velocity=round(to)) for n in loop.notes)
    assert place(CODED, [middle], KNOBS)[0][NAMES.index("velocity")] == pytest.approx(0.5, abs=0.01)


def test_what_is_unlike_in_the_models_eyes_lies_elsewhere() -> None:
    here, there = place(CODED, (melody(), melody(every=120)), KNOBS)
    assert here[len(NAMES) :] != there[len(NAMES) :]
