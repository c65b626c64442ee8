"""Tiny models of every role, made once, and music to play to them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import onnx

from rtgen.inference.card import Card
from rtgen.inference.model import Model
from rtgen.instrument.parameters import PARAMETERS
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from tests.data.make_tiny import (
    AUTOENCODER,
    CARD,
    GENERATOR,
    HALF_BEATS,
    PIECES,
    build,
    build_code,
    build_composer,
    build_harmoniser,
    build_sequence,
)

KNOBS = {p.name: p.default for p in PARAMETERS.values()}
DENOISER = Path(__file__).parents[1] / "data" / "tiny.onnx"


def loaded(proto: onnx.ModelProto) -> Model:
    """A model, read as from any file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path)
        return Model(path)


@cache
def of_role(role: str) -> Model:
    """The tiny model of a role."""
    match role:
        case "denoiser":
            return Model(DENOISER)
        case "drummer":
            return loaded(build(replace(CARD, name="tiny_drummer", role="drummer")))
        case "autoencoder":
            return loaded(build_code(AUTOENCODER))
        case "generator":
            return loaded(build_code(GENERATOR))
        case "sequence":
            return loaded(build_sequence(PIECES))
        case "composer":
            return loaded(build_composer())
        case "harmoniser":
            return loaded(build_harmoniser())
    raise ValueError(role)


def sequence(card: Card = HALF_BEATS, favour: Mapping[int, float] | None = None) -> Model:
    """A tiny sequence model that prefers some symbols."""
    return loaded(build_sequence(card, favour=favour))


def melody(bars: int = 2, metre: Metre = Metre(), every: int = 240, up: int = 0) -> Loop:  # noqa: B008 (frozen)
    """A tune in C major, some semitones up, with a little of a player's unevenness."""
    length = bars * metre.bar
    scale = (60, 62, 64, 65, 67, 69, 71, 72)
    notes = tuple(
        Note(t + t % 7, scale[t // every * 5 % 8] + up, min(every - 20, length - t - 7), 50 + t % 50)
        for t in range(0, length, every)
    )
    return Loop(length, notes, metre.bar)
