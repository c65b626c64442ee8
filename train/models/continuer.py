"""A recurrent network that says one note after the other, and by which the daemon continues what was played.

A step hears a note and says four things of the next one, each knowing those before it: how much later it is struck, its
pitch, how long it sounds, how loud it is. What its forerunners' authors missed is told to it: the place in the bar, the
key (all is in C major or A minor), what the bars before were like, and, as music comes back to what it said, what was
struck one, two and four bars ago. The draws are made within the graph, so that a note is one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference.card import State
from rtgen.inference.stream import CONTEXT, LAGS, SPELLING, WINDOW
from train.models import streams
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.recurrent import PERIODS, clocks
from train.models.streams import RHYTHM
from train.sample import GRID, Sample

SIZES = (len(SPELLING.shifts), GRID.pitches, len(SPELLING.durations), len(SPELLING.velocities))
"""Classes of the four choices."""
NAMES = ("shift", "pitch", "duration", "velocity")
WIDTHS = (24, 48, 16, 8)
"""Numbers that stand for a class of each."""
CLOSE = 24
"""Channels in which what is known of every pitch is looked at."""


class Continuer(Architecture):
    """The role `continuer` of `rtgen.inference.card`.

    Args:
        units: of the recurrent layer.
        hidden: units of the layer before each choice.
        notes: in a stretch that it learns from.
        dropout: share of what it remembers that it does not see in training.
        silent: share of the stretches in which it is not told what was struck some bars ago.
    """

    role: ClassVar[str] = "continuer"
    better: ClassVar[tuple[str, str]] = ("bits_a_note", "min")
    repeats: ClassVar[bool] = True

    def __init__(
        self, units: int = 384, hidden: int = 192, notes: int = 160, dropout: float = 0.1, silent: float = 0.15
    ) -> None:
        super().__init__()
        self.units, self.notes, self.silent = units, notes, silent
        self.spell = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(SIZES, WIDTHS, strict=True))
        hands = 2 * len(PERIODS)
        lags = len(LAGS)
        self.enter = nn.Linear(sum(WIDTHS) + hands + CONTEXT, units)
        self.memory = nn.GRU(units, units, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.to_shift = _choice(units + hands + lags * (RHYTHM + 1), hidden, SIZES[0])
        self.to_pitch = _choice(units + WIDTHS[0] + hands, hidden, SIZES[1])
        self.lengths = nn.Embedding(SIZES[2] + 1, 8)
        self.to_duration = _choice(units + sum(WIDTHS[:2]) + hands + 8 * lags, hidden, SIZES[2])
        self.to_velocity = _choice(units + sum(WIDTHS[:3]) + hands, hidden // 2, SIZES[3])
        # What is known of each pitch, looked at with the same eyes at all of them.
        self.look = nn.Sequential(nn.Conv1d(2 * lags + 2, CLOSE, 5, padding=2), nn.ReLU(), nn.Conv1d(CLOSE, CLOSE, 1))
        self.weigh = nn.Linear(units + WIDTHS[0] + hands, CLOSE)

    # ---- the network ------------------------------------------------------------------------------------------------

    def heard(self, note: Tensor, place: Tensor, context: Tensor) -> Tensor:
        """What the recurrent layer hears of notes: (..., 4), (..., 2), (..., numbers) -> (..., units)."""
        said = [spell(note[..., i]) for i, spell in enumerate(self.spell)]
        return F.relu(self.enter(torch.cat([*said, _clocks(place), context], dim=-1)))

    def shift_logits(self, state: Tensor, place: Tensor, rhythm: Tensor) -> Tensor:
        """Of how much later the next note is struck.

        Args:
            state: of the recurrent layer, shape (..., units).
            place: of the note before, shape (..., 2).
            rhythm: what was struck, so many bars ago, at the steps that follow, shape (..., lags * 25).
        """
        found: Tensor = self.to_shift(torch.cat([state, _clocks(place), rhythm], dim=-1))
        return found

    def pitch_logits(self, state: Tensor, shift: Tensor, place: Tensor, struck: Tensor) -> Tensor:
        """Of the pitch of the next note.

        Args:
            state: of the recurrent layer, shape (..., units).
            shift: the choice that was made, shape (...).
            place: where the next note is struck, shape (..., 2).
            struck: what is known of each pitch there, shape (..., 8, pitches): for every lag whether it was struck and
                how long it was to last; whether it is struck already; whether it lies below what is.
        """
        known = torch.cat([state, self.spell[0](shift), _clocks(place)], dim=-1)
        flat = struck.reshape(-1, *struck.shape[-2:])
        seen = self.look(flat).reshape(*struck.shape[:-2], CLOSE, SIZES[1])
        near = (self.weigh(known).unsqueeze(-1) * seen).sum(dim=-2)
        found: Tensor = self.to_pitch(known) + near
        # A chord is told from below, so nothing below its last note is left.
        return found.masked_fill(struck[..., -1, :] > 0, -30.0)

    def duration_logits(self, state: Tensor, shift: Tensor, pitch: Tensor, place: Tensor, before: Tensor) -> Tensor:
        """Of how long the next note sounds; `before`: the classes, plus 1, that the same pitch had (..., lags)."""
        known = [self.spell[0](shift), self.spell[1](pitch), _clocks(place), self.lengths(before).flatten(-2)]
        found: Tensor = self.to_duration(torch.cat([state, *known], dim=-1))
        return found

    def velocity_logits(self, state: Tensor, shift: Tensor, pitch: Tensor, duration: Tensor, place: Tensor) -> Tensor:
        """Of how loud the next note is."""
        known = [self.spell[0](shift), self.spell[1](pitch), self.spell[2](duration), _clocks(place)]
        found: Tensor = self.to_velocity(torch.cat([state, *known], dim=-1))
        return found

    # ---- the task ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Not to be had: single loops are no songs.

        Raises:
            NotImplementedError: always; `draw` has songs.
        """
        raise NotImplementedError

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Stretches of songs from `count` loops on."""
        varied = rng if source.augmentation else None
        some = source.of_a_metre(rng)
        told = streams.told(some.loops, some.pick(count, rng), self.notes + 1, varied)
        echo = (rng.random(count) >= self.silent) if varied else np.ones(count, bool)
        return {name: torch.from_numpy(x) for name, x in streams.lesson(told, echo).items()}

    def logits(self, task: Task) -> list[Tensor]:
        """Of each choice of every note but the first of a stretch, each (streams, notes, classes)."""
        note, place = task["note"], task["place"]
        heard = self.heard(note[:, :-1], place[:, :-1], task["context"][:, :-1])
        state, _ = self.memory(heard)
        state = self.drop(state)
        shift, pitch, duration, _ = note[:, 1:].unbind(-1)
        known = task["struck"]
        lags = len(LAGS)
        index = pitch[:, :, None, None].expand(-1, -1, lags, 1)
        before = (known[:, :, lags : 2 * lags].gather(3, index)[..., 0] * SIZES[2]).round().long()
        return [
            self.shift_logits(state, place[:, :-1], task["rhythm"]),
            self.pitch_logits(state, shift, place[:, 1:], known),
            self.duration_logits(state, shift, pitch, place[:, 1:], before),
            self.velocity_logits(state, shift, pitch, duration, place[:, 1:]),
        ]

    def aims(self, task: Task) -> Iterator[Aim]:
        """One: the nats of a note; those of loudness count where it was played."""
        there, loud = task["there"][:, 1:], task["loud"][:, 1:]
        weights = [there, there, there, loud]
        each = [
            (nats * w).sum() / there.sum() for nats, w in zip(losses(self.logits(task), task), weights, strict=True)
        ]
        yield Aim(torch.stack(each).sum(), log=dict(zip(NAMES, (x.detach() for x in each), strict=True)))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Bits of a note but for its loudness, and of each choice; how often the likeliest pitch is right."""
        rng = np.random.default_rng(0)
        totals: dict[str, float] = {}
        for _ in range(4):
            task = {name: x.to(self.device) for name, x in self.draw(source, JUDGED // 4, rng).items()}
            there, logits = task["there"][:, 1:], self.logits(task)
            for name, nats in zip(NAMES, losses(logits, task), strict=True):
                counted = task["loud"][:, 1:] if name == "velocity" else there
                totals[name] = totals.get(name, 0.0) + float((nats * counted).sum()) / float(np.log(2))
            right = (logits[1].argmax(dim=-1) == task["note"][:, 1:, 1]).float() * there
            totals["right"] = totals.get("right", 0.0) + float(right.sum())
            totals["notes"] = totals.get("notes", 0.0) + float(there.sum())
            totals["loud"] = totals.get("loud", 0.0) + float(task["loud"][:, 1:].sum())
        notes = totals["notes"]
        bits = {f"bits_{name}": totals[name] / notes for name in NAMES[:3]}
        return {
            "loss": sum(bits.values()) * float(np.log(2)),
            "bits_a_note": sum(bits.values()),
            **bits,
            "bits_velocity": totals["velocity"] / max(totals["loud"], 1),
            "pitch_right": totals["right"] / notes,
        }

    def player(self) -> nn.Module:
        """One step, with the draws."""
        return _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Its memory."""
        del train, valid
        return {
            "description": "Continues what was played, note by note, in its key, its groove and its manner.",
            "states": (State("memory", ("batch", self.units)),),
            "spelling": SPELLING,
            "in_key": True,
        }


def losses(logits: Sequence[Tensor], task: Task) -> list[Tensor]:
    """Nats of each choice of every note but the first of a stretch, each (streams, notes)."""
    return [
        F.cross_entropy(x.float().flatten(0, 1), y.flatten(), reduction="none").reshape(y.shape)
        for x, y in zip(logits, task["note"][:, 1:].unbind(-1), strict=True)
    ]


class _Player(nn.Module):
    """A step: a note is heard, and the next one drawn, each choice by those before it."""

    def __init__(self, net: Continuer) -> None:
        super().__init__()
        self.net = net

    def forward(
        self,
        note: Tensor,
        place: Tensor,
        context: Tensor,
        past: Tensor,
        given: Tensor,
        noise: Tensor,
        temperature: Tensor,
        least: Tensor,
        bias: Tensor,
        echo: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The choices (batch, 4), the logarithms of their chances, and the memory; inputs as the contract has them."""
        net = self.net
        after = self._remember(net.heard(note, place, context), memory)
        lags = (place[:, 1:] * place.new_tensor(LAGS)).long()
        noises = torch.split(noise, list(SIZES), dim=1)

        def drawn(i: int, logits: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
            score = (logits if extra is None else logits + extra * temperature.clamp(min=1)) / temperature
            # Gumbel noise on what is likely enough is a draw of it (Nguyen and others, Min-p Sampling, 2024).
            rare = score < score.amax(dim=1, keepdim=True) + torch.log(least.clamp(min=1e-9))
            choice = (score + noises[i]).masked_fill(rare, -1e9).argmax(dim=1)
            choice = torch.where(given[:, i] >= 0, given[:, i], choice)
            return choice, F.log_softmax(logits, dim=1).gather(1, choice[:, None])

        # Every node of the graph takes its time, so what stood here and what followed is looked up at once.
        soon = _columns(past, WINDOW - lags[:, :, None] + torch.arange(RHYTHM + 1, device=note.device))
        rhythm = soon[..., 1:].amax(dim=1).clamp(max=1)
        above = torch.arange(SIZES[1], device=note.device)[None] > note[:, 1:2]
        more = ((soon[..., 0] > 0) * above[:, :, None]).sum(dim=1) / 2
        rhythm = torch.cat([rhythm, more[:, :, None]], dim=2) * echo[:, :, None]
        shift, of_shift = drawn(0, net.shift_logits(after, place, rhythm.flatten(1)))

        steps = note.new_tensor(SPELLING.shifts)[shift]
        to = torch.cat([torch.remainder(place[:, :1] + steps[:, None], place[:, 1:]), place[:, 1:]], dim=1)
        before = _columns(past, WINDOW - lags[:, :, None] + steps[:, None, None])[..., 0] * echo[:, None]
        same = (steps == 0)[:, None].to(past.dtype)
        chord = (past[:, :, WINDOW] > 0) * same
        below = ~above * same
        struck = (before > 0).to(past.dtype)
        known = torch.cat([struck, before / SIZES[2], chord[:, :, None], below[:, :, None]], dim=2)
        pitch, of_pitch = drawn(1, net.pitch_logits(after, shift, to, known.transpose(1, 2)), bias)

        lasted = before.gather(1, pitch[:, None, None].expand(-1, 1, len(LAGS)))[:, 0].round().long()
        duration, of_duration = drawn(2, net.duration_logits(after, shift, pitch, to, lasted))
        velocity, of_velocity = drawn(3, net.velocity_logits(after, shift, pitch, duration, to))
        chances = torch.cat([of_shift, of_pitch, of_duration, of_velocity], dim=1)
        return torch.stack([shift, pitch, duration, velocity], dim=1), chances, after

    def _remember(self, heard: Tensor, memory: Tensor) -> Tensor:
        """A step of the recurrent layer, written out: exporters have not always had its reset gate right."""
        weights = dict(self.net.memory.named_parameters())
        of_heard = F.linear(heard, weights["weight_ih_l0"], weights["bias_ih_l0"]).chunk(3, dim=1)
        of_memory = F.linear(memory, weights["weight_hh_l0"], weights["bias_hh_l0"]).chunk(3, dim=1)
        reset, update = (torch.sigmoid(a + b) for a, b in zip(of_heard[:2], of_memory[:2], strict=True))
        return (1 - update) * torch.tanh(of_heard[2] + reset * of_memory[2]) + update * memory


def _columns(past: Tensor, at: Tensor) -> Tensor:
    """Columns of `past` (batch, pitches, columns), nothing beyond its ends: at (batch, lags, n) -> (..., lags, n)."""
    inside = (at >= 0) & (at <= WINDOW)
    index = at.clamp(0, WINDOW).flatten(1)[:, None].expand(-1, past.shape[1], -1)
    found = past.gather(2, index).reshape(*past.shape[:2], *at.shape[1:])
    return found * inside[:, None]


def _clocks(place: Tensor) -> Tensor:
    """Where in the bar a place (..., 2) is: (..., 16)."""
    return clocks(place[..., 0] / place[..., 1])


def _choice(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
