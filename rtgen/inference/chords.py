"""Chords of each beat, estimated from the notes.

A hidden Markov model over templates of pitch classes, decoded by the Viterbi algorithm (Sheh and Ellis, Chord
Segmentation and Recognition using EM-Trained Hidden Markov Models, 2003; templates after Fujishima, 1999).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rtgen.music.chord import KINDS

_STEPS = {kind.name: kind.steps for kind in KINDS}
QUALITIES = tuple(_STEPS[name] for name in ("", "m", "dim", "sus4", "7", "maj7", "m7", "m7b5"))
"""Pitch classes above the root, for each quality that is estimated."""
NONE = -1
"""The chord of a beat in which nothing sounds."""
TOLD = 24
"""Numbers that tell a chord: its pitch classes, then its root."""
_INSIDE = 0.9
"""Share of the sounding time that belongs to the chord."""
_FIRM = 2.5
"""Weight of a beat's notes, in nats per voice that sounds throughout."""
_BASS = 0.8
"""Nats for a root in the bass."""
_CHANGE, _OFF_BEAT = 1.6, 1.2
"""Nats that a change costs on the first and third beat of a bar, and what it costs more on the others."""


def _templates() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    members = np.zeros((12 * len(QUALITIES), 12))
    for i, steps in enumerate(QUALITIES):
        for root in range(12):
            members[12 * i + root, [(root + step) % 12 for step in steps]] = 1
    return members, np.tile(np.arange(12), len(QUALITIES))


MEMBERS, ROOTS = _templates()
"""Pitch classes of each chord, shape (chords, 12); and its root, shape (chords)."""
_CHANCES = np.log(
    np.where(
        MEMBERS > 0,
        _INSIDE / MEMBERS.sum(axis=1, keepdims=True),
        (1 - _INSIDE) / (12 - MEMBERS.sum(axis=1, keepdims=True)),
    )
)


def estimated(sounds: NDArray[np.float64], bass: NDArray[np.int64], beats_in_bar: int) -> NDArray[np.int64]:
    """Return the most likely chord of each beat, as an index of `MEMBERS`; `NONE` where nothing sounds.

    Args:
        sounds: beats that each pitch class sounds, shape (loops, beats, 12).
        bass: pitch class of the lowest note of each beat, -1 if there is none; shape (loops, beats).
        beats_in_bar: beats in a bar.
    """
    loops, beats, _ = sounds.shape
    # Many voices do not make a chord surer than three do.
    total = sounds.sum(axis=2, keepdims=True)
    scores = _FIRM * (sounds / np.maximum(total, 1e-9) * np.minimum(total, 3.0)) @ _CHANCES.T
    scores = scores + _BASS * (bass[..., None] == ROOTS)
    best = scores[:, 0]
    came: list[NDArray[np.int64]] = []
    rows = np.arange(loops)
    for beat in range(1, beats):
        cost = _CHANGE + (_OFF_BEAT if beat % beats_in_bar % 2 else 0.0)
        leader = best.argmax(axis=1)
        changed = best[rows, leader] - cost
        stays = best >= changed[:, None]
        came.append(np.where(stays, np.arange(best.shape[1]), leader[:, None]))
        best = np.where(stays, best, changed[:, None]) + scores[:, beat]
    path = [best.argmax(axis=1)]
    for before in reversed(came):
        path.append(before[rows, path[-1]])
    found = np.stack(path[::-1], axis=1)
    return np.where(total[..., 0] > 0, found, NONE)


def heard(
    loop: NDArray[np.int64],
    onset: NDArray[np.int64],
    end: NDArray[np.int64],
    pitch: NDArray[np.int64],
    loops: int,
    beats: int,
    ticks: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what `estimated` needs, from flat notes: how long each pitch class sounds in each beat, and the bass.

    Args:
        loop: loop of each note, shape (notes).
        onset: tick of its beginning, likewise.
        end: tick of its end, likewise.
        pitch: likewise.
        loops: number of loops.
        beats: beats in a loop.
        ticks: ticks in a beat.
    """
    begins = np.arange(beats) * ticks
    inside = np.clip(np.minimum(end[:, None], begins + ticks) - np.maximum(onset[:, None], begins), 0, ticks) / ticks
    cell = (loop[:, None] * beats + np.arange(beats)) * 12 + pitch[:, None] % 12
    sounds = np.bincount(cell.ravel(), inside.ravel(), loops * beats * 12).reshape(loops, beats, 12)
    lowest = np.full((loops, beats), 1 << 20)
    there = inside > 0.1
    np.minimum.at(
        lowest,
        (np.broadcast_to(loop[:, None], there.shape)[there], np.nonzero(there)[1]),
        np.broadcast_to(pitch[:, None], there.shape)[there],
    )
    low: NDArray[np.int64] = np.where(lowest < 1 << 20, lowest % 12, -1)
    return sounds.astype(np.float64), low


def told(chords: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return chords as `TOLD` numbers: (...) -> (..., 24); zeros for `NONE`."""
    table = np.concatenate([MEMBERS, np.eye(12)[ROOTS]], axis=1)
    table = np.concatenate([table, np.zeros((1, TOLD))]).astype(np.float32)
    return table[chords]
