"""A hidden Markov model of chords under a melody, the same in every key: the baseline of a harmoniser.

The chord is hidden, the melody's pitch classes are seen (Simon et al., MySong, 2008). It changes or stays with a
probability for each place in the bar; what it changes to depends on the chord before. All is counted in training songs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rtgen.music.chord import KINDS
from train.loops.songs import BAR, NONE, Song

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CHORDS = NONE + 1


class Markov:
    """A chord Markov chain with a melody.

    Args:
        songs: to count in.
        firm: how much a half beat's melody counts, in observations.
    """

    def __init__(self, songs: Sequence[Song], firm: float = 1.0) -> None:
        self.firm = firm
        kinds = len(KINDS)
        changes, places = np.ones(BAR), np.full(BAR, 2.0)
        # By kind before, kind after and interval. No chord is a kind of its own, and has none.
        steps = np.full((kinds + 1, kinds + 1, 12), 0.01)
        tones = np.full((kinds + 1, 12), 5.0)
        starts = np.ones(kinds + 1)
        for song in songs:
            before, after = song.chord[:-1], song.chord[1:]
            changed = before != after
            np.add.at(changes, song.position[1:], changed)
            np.add.at(places, song.position[1:], 1)
            one, other = before[changed], after[changed]
            np.add.at(steps, (_kind(one), _kind(other), _interval(one, other)), 1)
            kind, root = _kind(song.chord), np.where(song.chord == NONE, 0, song.chord // kinds)
            starts += np.bincount(kind, minlength=kinds + 1)
            turned = (np.arange(12) - root[:, None]) % 12
            rows = np.broadcast_to(kind[:, None], turned.shape)
            np.add.at(tones, (rows, turned), song.heard[..., 0])
        self.changes: Floats = changes / places
        tones[kinds] = 1.0
        tones /= tones.sum(axis=1, keepdims=True)
        number = np.arange(_CHORDS)
        root = np.where(number == NONE, 0, number // kinds)
        self.tones: Floats = np.log(tones[_kind(number)[:, None], (np.arange(12) - root[:, None]) % 12])
        """Log probability of each pitch class over each chord."""
        after = steps[_kind(number)[:, None], _kind(number), _interval(number[:, None], number)]
        np.fill_diagonal(after, 0)
        self.after: Floats = after / after.sum(axis=1, keepdims=True)
        """Probability of each chord after each, if it changes."""
        common = starts[_kind(number)]
        self.first: Floats = common / common.sum()

    def seen(self, heard: NDArray[np.float32]) -> Floats:
        """Log likelihood of what is heard over each chord, shape (..., chords)."""
        found: Floats = self.firm * heard[..., 0].astype(np.float64) @ self.tones.T
        return found

    def ahead(self, chance: Floats, position: Ints) -> Floats:
        """Probabilities a half beat later, shape (count, chords), at some positions in the bar, shape (count)."""
        change = self.changes[position][:, None]
        found: Floats = (1 - change) * chance + change * (chance @ self.after)
        return found

    def followed(self, heard: NDArray[np.float32], position: Ints) -> Ints:
        """The likeliest chord of each half beat before it is heard (forward algorithm), shape (count, halves).

        Args:
            heard: of melodies, shape (count, halves, 12, `HEARD`).
            position: in the bar, shape (count, halves).
        """
        chance = np.tile(self.first, (len(heard), 1))
        found = []
        for t in range(heard.shape[1]):
            if t:
                chance = self.ahead(chance, position[:, t])
            found.append(chance.argmax(axis=1))
            seen = self.seen(heard[:, t])
            chance = chance * np.exp(seen - seen.max(axis=1, keepdims=True))
            chance /= chance.sum(axis=1, keepdims=True)
        return np.stack(found, axis=1)

    def decoded(self, heard: NDArray[np.float32], position: Ints) -> Ints:
        """The likeliest chords of a whole melody, heard to its end (Viterbi algorithm); shape (halves).

        Args:
            heard: of one melody, shape (halves, 12, `HEARD`).
            position: in the bar, shape (halves).
        """
        seen = self.seen(heard)
        turns = np.log(self.after + 1e-300)
        best, came = np.log(self.first) + seen[0], []
        index = np.arange(len(best))
        for t in range(1, len(heard)):
            change = self.changes[position[t]]
            moved = best[:, None] + turns
            leader = moved.argmax(axis=0)
            moves, stays = moved[leader, index] + np.log(change), best + np.log1p(-change)
            came.append(np.where(moves > stays, leader, index))
            best = np.maximum(moves, stays) + seen[t]
        path = [int(best.argmax())]
        for before in reversed(came):
            path.append(int(before[path[-1]]))
        return np.array(path[::-1])


def _kind(chord: Ints) -> Ints:
    return np.where(chord == NONE, len(KINDS), chord % len(KINDS))


def _interval(one: Ints, other: Ints) -> Ints:
    named = (one != NONE) & (other != NONE)
    return np.where(named, (other // len(KINDS) - one // len(KINDS)) % 12, 0)
