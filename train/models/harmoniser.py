"""A recurrent network that hears a melody and says a chord for the half beat to come, the same in every key.

Each pitch class has the same units: weights between two of them depend only on the interval, so all matrices are block
circulant, and a melody in another key gives the same chords in that key. Group-equivariant networks (Cohen and Welling,
2016) do the same for images; here it takes the place of training in twelve keys.

Its memory is of the melody alone. Of its own chords it is told only the last, and how long it has been there: a network
that remembers the chords of songs follows its own mistakes, as Wu et al. found (Adaptive Accompaniment with ReaLchords,
2024). In training the chord before is often its own (Ross et al., DAgger, 2011) or a wrong one, from which it has to
find back. Stretches of the melody are unheard, as in a plan for the bar to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference import ear
from rtgen.inference.card import State
from rtgen.music.chord import KINDS
from train.config import Config
from train.loops import songs
from train.loops.sample import Sample
from train.loops.songs import BAR, NONE, Song
from train.models.base import Aim, Architecture, Source, Task

Numbers = np.ndarray[Any, np.dtype[np.int64]]
_HINTED = 0.15
"""Share of sequences in which chords are struck below the melody for a while, as a left hand does."""
_MODULATES = 0.3
"""Share of sequences that go to another key at some bar."""
_OWN = 0.4
"""Share of sequences in which the chords before are the network's own, drawn as it goes."""
_ASTRAY = 0.6
"""Share of the others in which some of the chords before are wrong."""
_JUDGED = 32
"""Stretches in a validation."""
_HIDES = 0.5
"""Share of sequences with stretches that are unheard."""


class Songs(Source):
    """Stretches of songs with chords.

    Args:
        every: the songs.
        window: half beats of a stretch.
    """

    def __init__(self, every: tuple[Song, ...], window: int) -> None:
        self.songs, self.window = every, window
        self.shares = None
        self._weights = np.array([len(song) for song in every], float)
        self._weights /= self._weights.sum()

    def __len__(self) -> int:
        """Number of stretches that all songs have one after the other."""
        return max(sum(map(len, self.songs)) // self.window, 1)

    @property
    def sets(self) -> list[str]:
        """Names of the sets."""
        return sorted({song.set_name for song in self.songs})

    def stretch(self, rng: Generator) -> tuple[Song, int]:
        """Choose a song by its length, and where in it a stretch begins."""
        song = self.songs[rng.choice(len(self.songs), p=self._weights)]
        bars = max((len(song) - self.window) // BAR, 0)
        return song, BAR * int(rng.integers(0, bars + 1))


class Circulant(nn.Module):
    """A linear map between features of pitch classes whose weights depend on the interval alone.

    Args:
        inside: features of a pitch class that come in.
        outside: those that go out.
        gates: how many such maps are stacked.
    """

    order: Tensor

    def __init__(self, inside: int, outside: int, gates: int = 1) -> None:
        super().__init__()
        bound = (12 * inside) ** -0.5
        self.gates, self.outside, self.inside = gates, outside, inside
        # A row for each feature that goes out, as Muon wants it.
        self.weight = nn.Parameter(torch.empty(gates * outside, 12 * inside).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(gates, outside))
        steps = torch.arange(12)
        self.register_buffer("order", (steps - steps[:, None]) % 12, persistent=False)

    def whole(self) -> tuple[Tensor, Tensor]:
        """The weight as a matrix, shape (gates * 12 * outside, 12 * inside), and the bias."""
        weight = self.weight.view(self.gates, self.outside, 12, self.inside)
        full = weight[:, :, self.order].permute(0, 2, 1, 3, 4).reshape(-1, 12 * self.inside)
        return full, self.bias[:, None].expand(-1, 12, -1).reshape(-1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., 12, inside) -> (..., 12, outside), for one gate."""
        found: Tensor = F.linear(x.flatten(-2), *self.whole())
        return found.reshape(*found.shape[:-1], 12, self.outside)


class Harmoniser(Architecture):
    """The role `harmoniser` of `rtgen.inference.card`.

    Args:
        channels: units of each pitch class.
        window: half beats of a training sequence.
        dropout: dropout rate of the recurrent layer's input and output.
        inside: weight of the loss by which the melody to come shall be in the chord.
    """

    role: ClassVar[str] = "harmoniser"
    cuts: ClassVar[bool] = False
    better: ClassVar[tuple[str, str]] = ("loss", "min")

    told: Tensor

    def __init__(self, channels: int = 16, window: int = 192, dropout: float = 0.1, inside: float = 0.0) -> None:
        super().__init__()
        self.channels, self.window, self.inside = channels, window, inside
        self.enter = Circulant(ear.HEARD, channels)
        self.enter_place = nn.Linear(ear.PLACE - 1, channels, bias=False)
        self.of_input = Circulant(channels, channels, 3)
        self.of_memory = Circulant(channels, channels, 3)
        self.drop = nn.Dropout(dropout)
        self.leave = Circulant(2 * channels + ear.TOLD, 2 * channels)
        self.leave_place = nn.Linear(ear.PLACE, 2 * channels, bias=False)
        self.to_kind = nn.Linear(2 * channels, len(KINDS))
        self.to_none = nn.Linear(2 * channels, 1)
        self.register_buffer("told", torch.from_numpy(ear.table(KINDS)), persistent=False)

    @classmethod
    def source(cls, data: Path | str, split: str, config: Config) -> Songs:
        """The songs of a split, but for those whose chords and melody do not agree."""
        every = tuple(song for song in songs.load([data], split) if song.agrees)
        return Songs(every, config.architecture.get("window", 192))

    # ---- the network ------------------------------------------------------------------------------------------------

    @property
    def units(self) -> int:
        """Size of the state."""
        return 12 * self.channels

    def _read(self, heard: Tensor, place: Tensor) -> Tensor:
        # How long the chord has been there is not for the memory.
        return F.relu(self.enter(heard) + self.enter_place(place[..., :-1]).unsqueeze(-2))

    def _say(self, read: Tensor, memory: Tensor, chord: Tensor, place: Tensor) -> Tensor:
        """Logits of the chords from what was read, shape (..., 12, channels), the state, (..., units), and the rest."""
        state = self.drop(memory).reshape(*memory.shape[:-1], 12, self.channels)
        both = torch.cat([read, state, chord], dim=-1)
        last = F.relu(self.leave(both) + self.leave_place(place).unsqueeze(-2))
        return torch.cat([self.to_kind(last).flatten(-2), self.to_none(last.mean(dim=-2))], dim=-1)

    def hear(self, heard: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """What is read of a sequence of half beats, shape (batch, time, 12, channels), and the states after each.

        Args:
            heard: shape (batch, time, 12, `ear.HEARD`).
            place: shape (batch, time, `ear.PLACE`).
        """
        read = self._read(heard, place)
        (wi, bi), (wm, bm) = self.of_input.whole(), self.of_memory.whole()
        memory = torch.zeros(1, len(heard), self.units, device=self.device)
        into = self.drop(read).flatten(-2)
        states, _ = torch.gru(into, memory, [wi, wm, bi, bm], True, 1, 0.0, self.training, False, True)
        return read, states

    @torch.no_grad()
    def freely(self, read: Tensor, states: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Go on from the network's own chords, drawn in training and the likeliest otherwise.

        Returns:
            The chord before each half beat, shape (batch, time), and the places with how long it has been there.
        """
        before = torch.full((len(read),), NONE, device=self.device)
        held = torch.ones_like(before)
        chords, places = [], place.clone()
        for t in range(read.shape[1]):
            chords.append(before)
            places[:, t, -1] = held.clamp(max=ear.LONGEST) / ear.LONGEST
            logits = self._say(read[:, t], states[:, t], self.told[before], places[:, t])
            noise = -torch.empty_like(logits).exponential_().log() if self.training else 0.0  # Gumbel: a fair draw
            after = (logits + noise).argmax(dim=-1)
            held = torch.where(after == before, held, 0) + 1
            before = after
        return torch.stack(chords, dim=1), places

    # ---- the task ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Not supported: it needs songs, not loops.

        Raises:
            NotImplementedError: always; use `draw`.
        """
        raise NotImplementedError

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Make sequences: what is heard before each half beat, its place, its chord, and the melody in it."""
        assert isinstance(source, Songs)
        length = self.window
        heard = np.zeros((count, length + 1, 12, ear.HEARD), np.float32)
        chord, position = np.full((count, length + 1), NONE), np.zeros((count, length + 1), np.int64)
        there = np.zeros((count, length + 1), bool)
        for i in range(count):
            song, first = source.stretch(rng)
            size = min(len(song) - first, length)
            own = slice(first, first + size)
            # Row 0 is the silence before the first half beat.
            there[i, 1 : size + 1] = True
            heard[i, 1 : size + 1], chord[i, 1 : size + 1] = song.heard[own], song.chord[own]
            position[i, 1 : size + 1] = song.position[own]
        if self.training:
            for i in range(count):
                _modulate(heard[i], chord[i], rng)
        meant = heard[:, 1:, :, 0].copy()
        if self.training:
            for i in range(count):
                _hint(heard[i], chord[i], self.told.cpu().numpy(), rng)
        hidden, before = np.zeros((count, length), bool), chord[:, :-1].copy()
        if self.training:
            for i in range(count):
                before[i] = _astray(before[i], rng)
                if rng.random() < _HIDES:
                    hidden[i] = _stretches(length, rng, 1, BAR, 2 * BAR)
        last = heard[:, :-1]
        silent = (last[..., 0].sum(axis=2) == 0) & ~hidden
        held = np.stack([ear.held(row) for row in before])
        task = {
            "heard": last * ~hidden[..., None, None],
            "place": ear.place(position[:, 1:], BAR, silent, hidden, held),
            "before": before,
            "own": rng.random(count) < _OWN if self.training else np.ones(count, bool),
            "chord": chord[:, 1:],
            "there": there[:, 1:],
            "meant": meant,
        }
        return {name: torch.from_numpy(x) for name, x in task.items()}

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: the cross-entropy of the chord, and how far the melody to come is from being in it."""
        before, place, own = task["before"], task["place"], task["own"]
        read, states = self.hear(task["heard"], place)
        if own.any():
            before, place = before.clone(), place.clone()
            before[own], place[own] = self.freely(read[own], states[own], place[own])
        logits = self._say(read, states, self.told[before], place).float()
        there, wanted = task["there"], task["chord"]
        right = F.cross_entropy(logits[there], wanted[there])
        sounds = task["meant"]
        share = (logits.softmax(dim=-1) @ self.told[:, :, 0] * sounds).sum(dim=-1)
        total = sounds.sum(dim=-1)
        fits = there & (total > 0)
        inside = share[fits] / total[fits]
        best = logits.argmax(dim=-1)
        same = (best // len(KINDS) == wanted // len(KINDS)) & there & (wanted != NONE)
        in_best = (self.told[best, :, 0] * sounds).sum(dim=-1)[fits] / total[fits]
        log = {"root": same.sum() / (there & (wanted != NONE)).sum(), "inside": in_best.mean()}
        yield Aim(right - self.inside * inside.clamp(min=1e-3).log().mean(), log=log)

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Loss, share of roots that are right, and share of the melody that is in the chord, all chords before its own.

        Args:
            source: validation split.
        """
        task = self.draw(source, _JUDGED, np.random.default_rng(0))
        (aim,) = self.aims({name: x.to(self.device) for name, x in task.items()})
        return {"loss": float(aim.loss), **{name: float(value) for name, value in aim.log.items()}}

    # ---- export -----------------------------------------------------------------------------------------------------

    def player(self) -> nn.Module:
        """One step, with the matrices written out."""
        return Step(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Kinds of chords, and the state."""
        del train, valid
        return {
            "description": "Hears a melody and says the chords for it, half a beat ahead.",
            "chords": KINDS,
            "states": (State("memory", ("batch", self.units)),),
        }


class Step(nn.Module):
    """One step of a harmoniser, whose inputs and outputs are those of the role.

    Args:
        net: the network.
    """

    def __init__(self, net: Harmoniser) -> None:
        super().__init__()
        self.net = net

    def forward(self, heard: Tensor, chord: Tensor, place: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Log probabilities of the chords of the half beat to come, and the next state."""
        net = self.net
        read = net._read(heard, place)
        into, again = (
            F.linear(x, *gates.whole()) for x, gates in ((read.flatten(1), net.of_input), (memory, net.of_memory))
        )
        reset_in, update_in, new_in = into.chunk(3, dim=1)
        reset_again, update_again, new_again = again.chunk(3, dim=1)
        reset, update = torch.sigmoid(reset_in + reset_again), torch.sigmoid(update_in + update_again)
        new = torch.tanh(new_in + reset * new_again)
        after = (1 - update) * new + update * memory
        return net._say(read, after, chord, place).log_softmax(dim=-1), after


def _astray(chord: Numbers, rng: Generator) -> Numbers:
    """The chords before, of which some stretches are those of other bars of the song, often in another key."""
    found = chord.copy()
    if rng.random() < _ASTRAY:
        other = np.roll(chord, BAR * int(rng.integers(1, 9)) + int(rng.integers(0, BAR)))
        if rng.random() < 0.5:
            up, named = int(rng.integers(1, 12)), other != NONE
            other[named] = (other[named] + up * len(KINDS)) % NONE
        wrong = _stretches(len(chord), rng, 1, 4 * BAR, 2 * BAR)
        found[wrong] = other[wrong]
    return found


def _modulate(heard: np.ndarray[Any, Any], chord: np.ndarray[Any, Any], rng: Generator) -> None:
    """Transposes the rest of a sequence from some bar on, in place; for some sequences."""
    if rng.random() < _MODULATES:
        at = 1 + BAR * int(rng.integers(1, max((len(chord) - 1) // BAR, 2)))
        up = int(rng.integers(1, 12))
        heard[at:] = np.roll(heard[at:], up, axis=1)
        named = chord[at:] != NONE
        chord[at:][named] = (chord[at:][named] + up * len(KINDS)) % NONE


def _hint(heard: np.ndarray[Any, Any], chord: np.ndarray[Any, Any], told: np.ndarray[Any, Any], rng: Generator) -> None:
    """Strikes the chords of a stretch below the melody, in place; for some sequences."""
    if rng.random() >= _HINTED:
        return
    first, inverted = int(rng.integers(1, len(chord))), rng.random() < 0.5
    for t in range(first, min(first + int(rng.integers(8, 96)), len(chord))):
        if chord[t] == NONE:
            continue
        members = np.flatnonzero(told[chord[t], :, 0])
        heard[t, members, 0] = heard[t, members, 2] = 1
        if chord[t] != chord[t - 1] or t % 2 == 1:
            heard[t, members, 1] = 1
        heard[t, :, 3] = 0
        heard[t, rng.choice(members) if inverted else told[chord[t], :, 2].argmax(), 3] = 1
        if not heard[t, :, 4].any():
            heard[t, rng.choice(members), 4] = 1


def _stretches(length: int, rng: Generator, least: int, most: int, apart: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Stretches of `least` to `most` half beats that are, on average, about `apart` from each other."""
    found = np.zeros(length, bool)
    at = int(rng.integers(1, 2 * apart))
    while at < length:
        size = int(rng.integers(least, most + 1))
        found[at : at + size] = True
        at += size + int(rng.integers(2, 2 * apart))
    return found
