"""Chords for a melody while it is played: heard up to now, planned for the bar to come, and kept once they are near.

Every half beat the harmoniser is told what was played in it. It says the chord of the half beat to come, and plans
further ones as if it heard nothing more. The first of them are committed, and never change; the others may with every
half beat that is heard. All chance comes from a seed and the number of the half beat, so a plan changes only as far as
what was heard changes it, and it does not matter how often it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtgen.inference import ear
from rtgen.inference.card import Card
from rtgen.inference.model import Model
from rtgen.music.chord import Chord
from rtgen.music.note import Note
from rtgen.music.time import HALF, Metre

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the network knows before it says a chord.

    Args:
        memory: its states.
        chance: log probabilities of the chord that it says, shape (count, chords).
        before: the chord before, shape (count).
        held: half beats for which it has been there, likewise.
    """

    memory: dict[str, Floats]
    chance: Floats
    before: Ints
    held: Ints


class Harmonisers:
    """Harmonises several melodies at once, each by itself; for measurements. `Harmoniser` is for one.

    Args:
        model: of the role `harmoniser`.
        bar: half beats in a bar.
        count: number of melodies.
        seed: of all chance.
        temperature: 0 takes the likeliest chord; 1 draws as likely as the model says.
        ahead: half beats before it sounds at which a chord is committed; 0 waits until it begins.
        position: of each melody's first half beat in its bar, shape (count); 0 by default.
    """

    def __init__(
        self,
        model: Model,
        bar: int,
        count: int,
        *,
        seed: int = 0,
        temperature: float = 0.0,
        ahead: int = 0,
        position: Ints | None = None,
    ) -> None:
        self._model, self._bar, self.seed, self.temperature = model, bar, seed, temperature
        self.ahead = ahead
        """Half beats before it sounds at which a chord is committed; may change from one half beat to the next."""
        self._table = ear.table(model.card.chords)
        self._none = len(self._table) - 1
        self._chords: list[Ints] = []
        self._taken: Ints | None = None
        self._places = ear.place(np.arange(bar), bar, np.zeros(bar, bool), np.zeros(bar, bool), np.zeros(bar, int))
        self._first = np.zeros(count, np.int64) if position is None else position
        self._heard_any = np.zeros(count, bool)
        self._silence = np.zeros((count, 12, ear.HEARD), np.float32)
        self._noise: dict[tuple[int, int], NDArray[np.float64]] = {}
        none = np.full(count, self._none)
        # What the network knows before each half beat from `now` on, as far as it was planned.
        self._moments = [self._step(self._silence, none, 0, np.ones(count, np.int64), self._zeros(count))]
        self.now = 0
        """Half beats that were heard: the number of the half beat to come."""
        self._commit()

    def hear(self, heard: Floats | None, position: Ints | None = None) -> None:
        """Tell what was played in half beat `now`.

        Args:
            heard: as `ear.heard` has it, shape (count, 12, `ear.HEARD`); None if it is not known.
            position: of the half beat after it in its bar, shape (count), where bars are not all of one length.
        """
        chord, last = self._chords[self.now], self._moments[0]
        held = np.where(chord == last.before, last.held, 0) + 1
        self.now += 1
        if heard is not None:
            self._heard_any = self._heard_any | heard.any(axis=(1, 2))
        if position is not None:
            self._first = position - self.now
        self._moments = [self._step(heard, chord, self.now, held, last.memory)]
        self._noise = {key: noise for key, noise in self._noise.items() if key[1] >= self.now}
        self._commit()

    def take(self, chord: Ints | None, since: int | None = None) -> None:
        """Play the player's own chords, which take the place of all that is said, until this is told None.

        Args:
            chord: numbers, shape (count); -1 where there is none.
            since: half beat from which on; None: from the one to come.
        """
        self._taken = chord
        if chord is not None:
            for number in range(max(self.now if since is None else since, self.now), len(self._chords)):
                self._chords[number] = np.where(chord >= 0, chord, self._chords[number])

    def plan(self, halves: int) -> Ints:
        """Return the chords of the half beats to come, shape (halves, count); `ahead` and one are committed."""
        found: list[Ints] = []
        for i in range(halves):
            number = self.now + i
            if found and (i == len(self._moments) or not np.array_equal(self._moments[i].before, found[-1])):
                last = self._moments[i - 1]
                held = np.where(found[-1] == last.before, last.held, 0) + 1
                self._moments[i:] = [self._step(None, found[-1], number, held, last.memory)]
            chance = self._moments[i].chance
            found.append(self._chords[number] if number < len(self._chords) else self._choose(chance, number))
        return np.stack(found)

    def _commit(self) -> None:
        certain = self.ahead + 1
        if len(self._chords) < self.now + certain:
            self._chords += list(self.plan(certain)[len(self._chords) - self.now :])

    def _choose(self, chance: Floats, number: int) -> Ints:
        """Draw chords. With Gumbel noise the greatest number is a fair draw, and small changes change little."""
        if self.temperature > 0:
            key = self.seed, number
            if key not in self._noise:
                self._noise[key] = np.random.default_rng(key).gumbel(size=chance.shape)
            chance = chance + (self.temperature * self._noise[key]).astype(np.float32)
        # Before anything is heard all keys are alike, and any chord would be a guess.
        best: Ints = np.where(self._heard_any, chance.argmax(axis=1), self._none)
        if self._taken is not None:
            best = np.where(self._taken >= 0, self._taken, best)
        return best

    def _step(self, heard: Floats | None, chord: Ints, number: int, held: Ints, memory: dict[str, Floats]) -> _Moment:
        place = self._places[(self._first + number) % self._bar]
        place[:, ear.SINCE] = np.minimum(held, ear.LONGEST) / ear.LONGEST
        if heard is None:
            place[:, ear.UNHEARD] = 1
        else:
            place[:, ear.SILENT] = ~heard[..., 0].any(axis=1)
        known = self._silence if heard is None else heard
        said = self._model.run({"heard": known, "chord": self._table[chord], "place": place, **memory})
        return _Moment({name: said[f"{name}_next"] for name in memory}, said["chance"], chord, held)

    def _zeros(self, count: int) -> dict[str, Floats]:
        return {
            state.name: np.zeros([count if d == "batch" else int(d) for d in state.shape], np.float32)
            for state in self._model.card.states
        }


class Harmoniser:
    """Harmonises a melody while it is played.

    Args:
        model: of the role `harmoniser`.
        metre: of the song, which begins with a bar.
        seed: of all chance.
        temperature: 0 takes the likeliest chord; 1 draws as likely as the model says.
        ahead: half beats before it sounds at which a chord is committed; 0 waits until it begins.
        position: of the first half beat in its bar.
    """

    def __init__(
        self,
        model: Model,
        metre: Metre,
        *,
        seed: int = 0,
        temperature: float = 0.0,
        ahead: int = 2,
        position: int = 0,
    ) -> None:
        self._card = model.card
        self._one = Harmonisers(
            model,
            metre.bar // HALF,
            1,
            seed=seed,
            temperature=temperature,
            ahead=ahead,
            position=np.array([position]),
        )

    def tune(self, *, seed: int, temperature: float, ahead: int) -> None:
        """Take other settings from the next half beat on; what is committed stays."""
        self._one.seed, self._one.temperature, self._one.ahead = seed, temperature, ahead

    @property
    def now(self) -> int:
        """Number of the half beat that is to be heard next, counted from 0."""
        return self._one.now

    def hear(self, notes: Sequence[Note] | None) -> None:
        """Tell what was played in half beat `now`, once it is over.

        Args:
            notes: all that sound in it, with onsets in ticks of the song, those that began earlier as well; a note that
                is still held ends at the end of the half beat or later. None if it is not known.
        """
        if notes is None:
            self._one.hear(None)
            return
        rows = np.array([(n.onset, n.pitch, n.end) for n in notes], np.int64).reshape(-1, 3)
        self._one.hear(ear.heard(rows[:, 0], rows[:, 1], rows[:, 2], self.now, 1))

    def take(self, chord: Chord | None, since: int | None = None) -> None:
        """Play the player's own chord, as of a left hand, until this is told None.

        Args:
            chord: the chord.
            since: half beat from which on; None: from the one to come.

        Raises:
            ValueError: the model does not know its kind.
        """
        self._one.take(None if chord is None else np.array([number_of(chord, self._card)]), since)

    def plan(self, halves: int) -> tuple[Chord | None, ...]:
        """Return the chords of so many half beats from `now` on; None is no chord.

        The first is committed, and those that begin within `ahead` half beats of it.
        """
        return tuple(chord_of(int(number), self._card) for number in self._one.plan(halves)[:, 0])


def chord_of(number: int, card: Card) -> Chord | None:
    """Return the chord of a number, or None for no chord."""
    root, kind = divmod(number, len(card.chords))
    return Chord(root, card.chords[kind]) if root < 12 else None


def number_of(chord: Chord, card: Card) -> int:
    """Return the number of a chord.

    Raises:
        ValueError: the model does not know its kind.
    """
    return chord.root * len(card.chords) + card.chords.index(chord.kind)
