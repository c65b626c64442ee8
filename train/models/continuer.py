"""A recurrent network (GRU; Cho et al., 2014) that predicts one note at a time, to continue what was played.

Each step reads a note and makes four choices for the next one, each conditioned on those before it: time shift, pitch,
duration, velocity. Further inputs are what earlier systems of this kind lacked: the position in the bar, the key (all
music is in C major or A minor), a summary of the bars before, and, since music repeats itself, what was struck one, two
and four bars ago. Sampling is part of the graph, so that a note takes one run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference.card import State
from rtgen.inference.stream import CONTEXT, LAGS, SPELLING, WINDOW
from train.loops.sample import GRID, Sample
from train.models import streams
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.recurrent import PERIODS, clocks
from train.models.streams import RHYTHM

SIZES = (len(SPELLING.shifts), GRID.pitches, len(SPELLING.durations), len(SPELLING.velocities))
"""Number of classes of each of the four choices."""
NAMES = ("shift", "pitch", "duration", "velocity")
WIDTHS = (24, 48, 16, 8)
"""Embedding size of each."""
_BELOW = 60.0
"""Subtracted from the logits of pitches below the notes of the chord so far."""
CLOSE, CLOSE_BY = 24, 2
"""Channels of the convolution over the features of each pitch, and its reach in semitones to either side."""
_Layer = TypeVar("_Layer", bound=nn.Module)


class Continuer(Architecture):
    """The role `continuer` of `rtgen.inference.card`.

    Args:
        units: units of the GRU.
        hidden: units of the layer before each choice.
        notes: notes in a training sequence.
        dropout: dropout rate of the GRU's output.
        silent: share of training sequences without the input of what was struck some bars ago.
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
        # Features of each pitch, with weights shared by all pitches.
        self.look = nn.Sequential(
            nn.Conv1d(2 * lags + 2, CLOSE, 2 * CLOSE_BY + 1, padding=CLOSE_BY), nn.ReLU(), nn.Conv1d(CLOSE, CLOSE, 1)
        )
        self.weigh = nn.Linear(units + WIDTHS[0] + hands, CLOSE)

    # ---- the network ------------------------------------------------------------------------------------------------

    def heard(self, note: Tensor, place: Tensor, context: Tensor) -> Tensor:
        """Input of the GRU for notes: (..., 4), (..., 2), (..., numbers) -> (..., units)."""
        said = [spell(note[..., i]) for i, spell in enumerate(self.spell)]
        return F.relu(self.enter(torch.cat([*said, _clocks(place), context], dim=-1)))

    def shift_logits(self, state: Tensor, place: Tensor, rhythm: Tensor) -> Tensor:
        """Logits of the time until the next note.

        Args:
            state: output of the GRU, shape (..., units).
            place: position of the last note, shape (..., 2).
            rhythm: what was struck each number of bars ago at the following steps, shape (..., lags * 25).
        """
        found: Tensor = self.to_shift(torch.cat([state, _clocks(place), rhythm], dim=-1))
        return found

    def pitch_logits(self, state: Tensor, shift: Tensor, place: Tensor, struck: Tensor) -> Tensor:
        """Logits of the next pitch.

        Args:
            state: output of the GRU, shape (..., units).
            shift: the chosen shift, shape (...).
            place: position of the next note, shape (..., 2).
            struck: features of each pitch there, shape (..., 8, pitches): for each lag whether it was struck, then its
                duration; whether it is in the chord so far; whether it is at or below the chord's last note.
        """
        known = torch.cat([state, self.spell[0](shift), _clocks(place)], dim=-1)
        flat = struck.reshape(-1, *struck.shape[-2:])
        seen = self.look(flat).reshape(*struck.shape[:-2], CLOSE, SIZES[1])
        near = (self.weigh(known).unsqueeze(-1) * seen).sum(dim=-2)
        found: Tensor = self.to_pitch(known) + near
        # Chords are spelt from the bottom up, so nothing may follow below the chord's last note.
        return found.masked_fill(struck[..., -1, :] > 0, -30.0)

    def duration_logits(self, state: Tensor, shift: Tensor, pitch: Tensor, place: Tensor, before: Tensor) -> Tensor:
        """Logits of the duration; `before`: duration class plus 1 of the same pitch at each lag, shape (..., lags)."""
        known = [self.spell[0](shift), self.spell[1](pitch), _clocks(place), self.lengths(before).flatten(-2)]
        found: Tensor = self.to_duration(torch.cat([state, *known], dim=-1))
        return found

    def velocity_logits(self, state: Tensor, shift: Tensor, pitch: Tensor, duration: Tensor, place: Tensor) -> Tensor:
        """Logits of the velocity."""
        known = [self.spell[0](shift), self.spell[1](pitch), self.spell[2](duration), _clocks(place)]
        found: Tensor = self.to_velocity(torch.cat([state, *known], dim=-1))
        return found

    # ---- the task ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Not supported: it needs songs, not single loops.

        Raises:
            NotImplementedError: always; use `draw`.
        """
        raise NotImplementedError

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Make training sequences that start at `count` random loops and follow their songs."""
        varied = rng if source.augmentation else None
        some = source.of_a_metre(rng)
        told = streams.told(some.loops, some.pick(count, rng), self.notes + 1, varied)
        echo = (rng.random(count) >= self.silent) if varied else np.ones(count, bool)
        return {name: torch.from_numpy(x) for name, x in streams.lesson(told, echo).items()}

    def logits(self, task: Task) -> list[Tensor]:
        """Logits of each choice for every note of a sequence but the first, each (streams, notes, classes)."""
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
        """One loss: nats per note; velocity counts only where it was played."""
        there, loud = task["there"][:, 1:], task["loud"][:, 1:]
        weights = [there, there, there, loud]
        each = [
            (nats * w).sum() / there.sum() for nats, w in zip(losses(self.logits(task), task), weights, strict=True)
        ]
        yield Aim(torch.stack(each).sum(), log=dict(zip(NAMES, (x.detach() for x in each), strict=True)))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Bits per note without velocity, bits of each choice, and the accuracy of the likeliest pitch."""
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
        """One step, including the sampling."""
        return _Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """State, spelling and description."""
        del train, valid
        return {
            "description": "Continues what was played, note by note, in its key, groove and style.",
            "states": (State("memory", ("batch", self.units)),),
            "spelling": SPELLING,
            "in_key": True,
        }


def losses(logits: Sequence[Tensor], task: Task) -> list[Tensor]:
    """Nats of each choice for every note of a sequence but the first, each (streams, notes)."""
    return [
        F.cross_entropy(x.float().flatten(0, 1), y.flatten(), reduction="none").reshape(y.shape)
        for x, y in zip(logits, task["note"][:, 1:].unbind(-1), strict=True)
    ]


class _Player(nn.Module):
    """A single step: reads a note and samples the next one, each choice conditioned on those before it.

    It computes the same as the network, in fewer and larger products. A node of the graph costs about as much as a
    product of a hundred thousand multiplications, and a direct export would have two hundred nodes. So an embedding and
    the layer after it become one table, layers with the same input share one product, and the draws share what they
    can. The tables and products of weights are computed when the file is loaded.
    """

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
        """Return the choices (batch, 4), their log-probabilities and the new state; inputs as in the model contract."""
        at, bar = torch.split(place, 1, dim=1)
        hands = _hands(at / bar)
        after = self._remember(self._heard(note, hands, context), memory)
        draw = _Draw(given, noise, temperature, least)

        there = past.clamp(max=1)
        of_note = _beside(past).index_select(0, note[:, 1])
        rhythm = self._rhythm(of_note @ there, bar, echo)
        shift, of_shift = draw(0, self._shift(after, hands, rhythm))

        steps = F.embedding(shift, bar.new_tensor(SPELLING.shifts)[:, None])
        near, for_pitch, for_duration, for_velocity = self._wanted(
            after, shift, _hands(torch.fmod(at + steps[:, 0], bar) / bar)
        )
        before = self._before(past, bar[:, None], steps, echo[:, None])
        # The chord so far, and the pitches at or below its last note.
        chord = torch.cat([there[:, :, WINDOW:].transpose(1, 2), of_note[:, 2:]], dim=1) * (steps == 0).to(past.dtype)
        pitch, of_pitch = draw(1, self._pitch(for_pitch, near, before.transpose(1, 2), chord), bias)

        lasted = before.gather(1, pitch[:, :, None] + torch.zeros(1, 1, len(LAGS), dtype=torch.long))[:, 0].long()
        duration, of_duration = draw(2, self._duration(for_duration, pitch, lasted))
        velocity, of_velocity = draw(3, self._velocity(for_velocity, pitch, duration))
        chances = torch.cat([of_shift, of_pitch, of_duration, of_velocity], dim=1)
        return torch.cat([shift, pitch, duration, velocity], dim=1), chances, after

    def _heard(self, note: Tensor, hands: Tensor, context: Tensor) -> Tensor:
        """Same as `Continuer.heard`."""
        layer = self.net.enter
        parts = torch.split(layer.weight[:, : sum(WIDTHS)], list(WIDTHS), dim=1)
        tables = [spelt @ part.T for spelt, part in zip(self.net.spell.parameters(), parts, strict=True)]
        said = _looked_up(note, [tables[0] + layer.bias, *tables[1:]])
        return F.relu(torch.addmm(said, torch.cat([hands, context], dim=1), layer.weight[:, sum(WIDTHS) :].T))

    def _remember(self, heard: Tensor, memory: Tensor) -> Tensor:
        """A GRU step, written out: some exporters have had its reset gate wrong."""
        weights, gates = dict(self.net.memory.named_parameters()), 2 * self.net.units
        of_heard = F.linear(heard, weights["weight_ih_l0"], weights["bias_ih_l0"])
        of_memory = F.linear(memory, weights["weight_hh_l0"], weights["bias_hh_l0"])
        heard_gates, heard_new = torch.split(of_heard, [gates, self.net.units], dim=1)
        memory_gates, memory_new = torch.split(of_memory, [gates, self.net.units], dim=1)
        reset, update = torch.sigmoid(heard_gates + memory_gates).chunk(2, dim=1)
        new = torch.tanh(heard_new + reset * memory_new)
        return new + update * (memory - new)

    @staticmethod
    def _rhythm(counts: Tensor, bar: Tensor, echo: Tensor) -> Tensor:
        """For each lag, the number of notes above this one at its step, and whether any was struck at each later step.

        Args:
            counts: notes struck at each step, in all and above the note, shape (batch, 3, columns of the past).
            bar: steps in the bar.
            echo: 1 to use this input, 0 to leave it out.
        """
        steps = torch.arange(RHYTHM + 1).repeat(len(LAGS))
        lags = torch.tensor(LAGS).repeat_interleave(RHYTHM + 1)
        at = WINDOW + steps - bar * lags
        inside = at.clamp(0, WINDOW)
        rows = torch.where(steps > 0, 0, WINDOW + 1)
        found = counts.flatten(1).gather(1, inside.long() + rows) * torch.where(inside == at, echo, 0.0)
        return torch.minimum(found, torch.where(steps > 0, 1.0, float(SIZES[1])))

    def _shift(self, state: Tensor, hands: Tensor, rhythm: Tensor) -> Tensor:
        """Same as `Continuer.shift_logits`; for each lag the current step comes first and is not halved yet."""
        inner, last = _ends(self.net.to_shift, nn.Linear)
        begin = self.net.units + hands.shape[1]
        order = torch.arange(rhythm.shape[1]).reshape(len(LAGS), -1).roll(1, dims=1).flatten()
        halved = 1 - (torch.arange(rhythm.shape[1]) % (RHYTHM + 1) == 0).to(state.dtype) / 2
        weights = torch.cat([inner.weight[:, :begin], inner.weight[:, begin:][:, order] * halved], dim=1)
        known = torch.cat([state, hands, rhythm], dim=1)
        found: Tensor = last(F.relu(F.linear(known, weights, inner.bias)))
        return found

    def _wanted(self, state: Tensor, shift: Tensor, hands: Tensor) -> tuple[Tensor, ...]:
        """The products with the inputs that the pitch features and the pitch, duration and velocity layers share."""
        net = self.net
        near = _ends(net.look, nn.Conv1d)[1].weight[:, :, 0].T
        layers = [(near @ net.weigh.weight, net.weigh.bias @ near.T)]
        for choice in (net.to_pitch, net.to_duration, net.to_velocity):
            inner, _ = _ends(choice, nn.Linear)
            layers.append((inner.weight, inner.bias))
        # Earlier choices lie between the shift and the clocks in the input.
        clocks_at = (net.units + sum(WIDTHS[:n]) for n in (1, 1, 2, 3))
        of_shift = slice(net.units, net.units + WIDTHS[0])
        spelt = next(net.spell.parameters())
        tables = [spelt @ weight[:, of_shift].T + bias for weight, bias in layers]
        rest = [
            torch.cat([weight[:, : net.units], weight[:, at : at + hands.shape[1]]], dim=1)
            for at, (weight, _) in zip(clocks_at, layers, strict=True)
        ]
        said = F.embedding(shift[:, 0], torch.cat(tables, dim=1))
        every = torch.addmm(said, torch.cat([state, hands], dim=1), torch.cat(rest).T)
        return torch.split(every, [len(weight) for weight, _ in layers], dim=1)

    @staticmethod
    def _before(past: Tensor, bar: Tensor, steps: Tensor, echo: Tensor) -> Tensor:
        """What was struck some bars before the next note: (batch, pitches, lags); other inputs are (batch, 1, 1)."""
        at = WINDOW + steps - bar * bar.new_tensor(LAGS)
        inside = at.clamp(0, WINDOW)
        index = inside.long() + torch.zeros(1, past.shape[1], 1, dtype=torch.long)
        return past.gather(2, index) * torch.where(inside == at, echo, 0.0)

    def _pitch(self, wanted: Tensor, near: Tensor, ago: Tensor, chord: Tensor) -> Tensor:
        """Same as `Continuer.pitch_logits`, without the narrow layer's bias, which is the same for all pitches."""
        wide, _ = _ends(self.net.look, nn.Conv1d)
        _, last = _ends(self.net.to_pitch, nn.Linear)
        scales = ago.new_tensor([1] * len(LAGS) + [SIZES[2]] * len(LAGS) + [1, _BELOW])
        known = torch.cat([ago.clamp(max=1), ago, chord], dim=1)
        seen = F.relu(F.conv1d(known, wide.weight / scales[:, None], wide.bias, padding=CLOSE_BY))
        found: Tensor = last(F.relu(wanted)) + (near[:, None] @ seen)[:, 0] - chord[:, 1]
        return found

    def _duration(self, wanted: Tensor, pitch: Tensor, lasted: Tensor) -> Tensor:
        """Same as `Continuer.duration_logits`."""
        net, (inner, last) = self.net, _ends(self.net.to_duration, nn.Linear)
        begin = net.units + WIDTHS[0]
        of_pitch = list(net.spell.parameters())[1] @ inner.weight[:, begin : begin + WIDTHS[1]].T
        wide = net.lengths.embedding_dim
        of_lags = torch.split(inner.weight[:, -wide * len(LAGS) :], wide, dim=1)
        tables = [of_pitch, *(net.lengths.weight @ part.T for part in of_lags)]
        said = _looked_up(torch.cat([pitch, lasted], dim=1), tables)
        found: Tensor = last(F.relu(wanted + said))
        return found

    def _velocity(self, wanted: Tensor, pitch: Tensor, duration: Tensor) -> Tensor:
        """Same as `Continuer.velocity_logits`."""
        net, (inner, last) = self.net, _ends(self.net.to_velocity, nn.Linear)
        begin = net.units + WIDTHS[0]
        parts = torch.split(inner.weight[:, begin : begin + sum(WIDTHS[1:3])], list(WIDTHS[1:3]), dim=1)
        tables = [spelt @ part.T for spelt, part in zip(list(net.spell.parameters())[1:3], parts, strict=True)]
        found: Tensor = last(F.relu(wanted + _looked_up(torch.cat([pitch, duration], dim=1), tables)))
        return found


class _Draw:
    """Samples the choices, or takes those that are given."""

    def __init__(self, given: Tensor, noise: Tensor, temperature: Tensor, least: Tensor) -> None:
        self._given = torch.split(given, 1, dim=1)
        self._is_given = torch.split(given >= 0, 1, dim=1)
        self._noise = torch.split(noise * temperature, list(SIZES), dim=1)
        self._rare = temperature * torch.log(least.clamp(min=1e-9))
        self._more = temperature.clamp(min=1)

    def __call__(self, i: int, logits: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the choice and its log-probability, both (batch, 1)."""
        score = logits if extra is None else logits + extra * self._more
        # Gumbel-max sampling; min-p removes unlikely classes (Nguyen et al., Min-p Sampling, 2024).
        rare = score < score.amax(dim=1, keepdim=True) + self._rare
        choice = (score + self._noise[i]).masked_fill(rare, -1e9).argmax(dim=1, keepdim=True)
        choice = torch.where(self._is_given[i], self._given[i], choice)
        return choice, F.log_softmax(logits, dim=1).gather(1, choice)


def _beside(like: Tensor) -> Tensor:
    """Rows for each pitch: ones, 1 at pitches above it, the penalty of the other pitches; shape (96, 3, 96)."""
    rows = torch.arange(SIZES[1])
    above = (rows > rows[:, None]).to(like.dtype)
    return torch.stack([torch.ones_like(above), above, _BELOW * (1 - above)], dim=1)


def _ends(chain: nn.Sequential, kind: type[_Layer]) -> tuple[_Layer, _Layer]:
    """First and last layer of a chain."""
    first, last = chain[0], chain[-1]
    assert isinstance(first, kind)
    assert isinstance(last, kind)
    return first, last


def _looked_up(classes: Tensor, tables: Sequence[Tensor]) -> Tensor:
    """Look up one class per table and add up the rows: classes (batch, tables) -> (batch, numbers)."""
    begins = np.cumsum([0, *(len(table) for table in tables[:-1])])
    return F.embedding(classes + classes.new_tensor(begins), torch.cat(list(tables))).sum(dim=1)


def _hands(turn: Tensor) -> Tensor:
    """`clocks` of shape (batch, 1), using only sines."""
    turns = 2 * torch.pi * turn.new_tensor(PERIODS)
    quarter = torch.cat([torch.zeros_like(turns), torch.full_like(turns, torch.pi / 2)])
    return torch.sin(turn * turns.repeat(2) + quarter)


def _clocks(place: Tensor) -> Tensor:
    """Clock features of positions in the bar: (..., 2) -> (..., 16)."""
    return clocks(place[..., 0] / place[..., 1])


def _choice(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
