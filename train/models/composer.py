"""A recurrent network that writes music note by note, between notes that are given or after what was played.

A step reads a note and makes five choices for the next one, each conditioned on those before it: time shift, pitch,
duration, velocity, micro-timing. It continues a song if nothing is given. Told which notes stay and where new ones may
be struck, it fills gaps, as Coconet (Huang et al., Counterpoint by Convolution, 2017) and the Anticipatory Music
Transformer (Thickstun et al., 2023) do: one model for variations, endings and continuations.

What is relative in music is told by pitch: features of each pitch (struck some bars ago, in a recalled loop, given,
sounding, in the chord) go through convolutions over pitch with shared weights. See `train.models.passages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.inference import chords
from rtgen.inference.card import State
from rtgen.inference.sheet import (
    FADE,
    FOLLOWS,
    GIVEN_RHYTHM,
    KNOWN,
    RHYTHM,
    STATIC,
    VARIES,
)
from rtgen.inference.spelling import LAGS, SPELLING
from train.loops.dataset import Loops
from train.loops.links import Links, linked
from train.loops.sample import GRID, Sample
from train.models import passages
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.passages import PLANES, Shown
from train.models.recurrent import PERIODS, clocks

SIZES = (len(SPELLING.shifts), GRID.pitches, len(SPELLING.durations), len(SPELLING.velocities), len(SPELLING.timings))
"""Number of classes of each of the five choices."""
NAMES = ("shift", "pitch", "duration", "velocity", "timing")
WIDTHS = (24, 48, 16, 12, 8)
"""Embedding size of each."""
CLOCKS = 2 * len(PERIODS)
REACH, OCTAVE = 5, 12
"""Semitones to either side that the features of a pitch are seen in; beyond them, those an octave away."""
_LASTED = len(LAGS) + 2
"""Durations of the pitch that are told to the choice of the duration: at each lag, recalled, given."""


class Composer(Architecture):
    """The role `composer` of `rtgen.inference.card`.

    Args:
        units: units of the GRU.
        hidden: units of the layer before each choice.
        channels: features of each pitch.
        notes: notes in a training sequence.
        dropout: dropout rate of the GRU's output.
        free: share of training sequences in which nothing is given.
    """

    role: ClassVar[str] = "composer"
    better: ClassVar[tuple[str, str]] = ("bits_a_note", "min")
    repeats: ClassVar[bool] = True

    def __init__(
        self,
        units: int = 448,
        hidden: int = 224,
        channels: int = 24,
        notes: int = 160,
        dropout: float = 0.15,
        free: float = 0.45,
    ) -> None:
        super().__init__()
        self.units, self.notes, self.free = units, notes, free
        self.spell = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(SIZES, WIDTHS, strict=True))
        self.enter = nn.Linear(sum(WIDTHS) + CLOCKS + KNOWN, units)
        self.memory = nn.GRU(units, units, batch_first=True)
        self.drop = nn.Dropout(dropout)
        harmony = 2 * chords.TOLD
        self.to_shift = _choice(units + CLOCKS + RHYTHM, hidden, SIZES[0])
        self.to_pitch = _choice(units + WIDTHS[0] + CLOCKS + harmony, hidden, SIZES[1])
        self.look = nn.Conv1d(PLANES, channels, 2 * REACH + 1, padding=REACH)
        self.far = nn.Conv1d(PLANES, channels, 3, dilation=OCTAVE, padding=OCTAVE, bias=False)
        self.gate = nn.Linear(units + WIDTHS[0] + CLOCKS + harmony, 3 * channels)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.lasted = nn.Embedding(SIZES[2] + 1, 8)
        self.to_duration = _choice(units + sum(WIDTHS[:2]) + CLOCKS + 8 * _LASTED, hidden, SIZES[2])
        self.to_velocity = _choice(units + sum(WIDTHS[:3]) + CLOCKS, hidden // 2, SIZES[3])
        self.to_timing = _choice(units + sum(WIDTHS[:4]) + CLOCKS, hidden // 2, SIZES[4])
        self._links: dict[int, tuple[Loops, Links]] = {}

    # ---- the network ------------------------------------------------------------------------------------------------

    def heard(self, note: Tensor, place: Tensor, known: Tensor) -> Tensor:
        """Input of the GRU for notes: (..., 5), (..., 2), (..., `KNOWN`) -> (..., units)."""
        said = [spell(note[..., i]) for i, spell in enumerate(self.spell)]
        return F.relu(self.enter(torch.cat([*said, _clocks(place), known], dim=-1)))

    def shift_logits(self, state: Tensor, place: Tensor, rhythm: Tensor) -> Tensor:
        """Logits of the time until the next note.

        Args:
            state: output of the GRU, shape (..., units).
            place: position of the last note, shape (..., 2).
            rhythm: of the steps after it, shape (..., `RHYTHM`).
        """
        found: Tensor = self.to_shift(torch.cat([state, _clocks(place), rhythm], dim=-1))
        return found.masked_fill(~legal_shifts(rhythm), _NEVER)

    def pitch_logits(self, state: Tensor, shift: Tensor, place: Tensor, harmony: Tensor, planes: Tensor) -> Tensor:
        """Logits of the next pitch.

        Args:
            state: output of the GRU, shape (..., units).
            shift: the chosen shift, shape (...).
            place: position of the next note, shape (..., 2).
            harmony: chords there, shape (..., 2 * `chords.TOLD`).
            planes: features of each pitch there, shape (..., `PLANES`, pitches).
        """
        known = torch.cat([state, self.spell[0](shift), _clocks(place), harmony], dim=-1)
        flat = planes.reshape(-1, *planes.shape[-2:])
        seen = (self.look(flat) + self.far(flat)).reshape(*planes.shape[:-2], -1, SIZES[1])
        grow, lift, weigh = self.gate(known).unsqueeze(-1).chunk(3, dim=-2)
        seen = F.relu(seen * (1 + grow) + lift)
        mixed = F.relu(self.mix(seen.reshape(-1, *seen.shape[-2:]))).reshape(seen.shape)
        near = (weigh * mixed).sum(dim=-2)
        found: Tensor = self.to_pitch(known) + near
        return found.masked_fill(~legal_pitches(planes), _NEVER)

    def duration_logits(self, state: Tensor, shift: Tensor, pitch: Tensor, place: Tensor, lasted: Tensor) -> Tensor:
        """Logits of the duration.

        Args:
            state: output of the GRU, shape (..., units).
            shift: the chosen shift, shape (...).
            pitch: the chosen pitch, shape (...).
            place: position of the note, shape (..., 2).
            lasted: duration class plus 1 of the pitch at each lag, in the recalled loop and given; shape (..., 5).
        """
        known = [self.spell[0](shift), self.spell[1](pitch), _clocks(place), self.lasted(lasted).flatten(-2)]
        found: Tensor = self.to_duration(torch.cat([state, *known], dim=-1))
        return found

    def velocity_logits(self, state: Tensor, said: Tensor, place: Tensor) -> Tensor:
        """Logits of the velocity, given the embedded choices before it, shape (..., numbers)."""
        found: Tensor = self.to_velocity(torch.cat([state, said, _clocks(place)], dim=-1))
        return found

    def timing_logits(self, state: Tensor, said: Tensor, place: Tensor) -> Tensor:
        """Logits of the micro-timing, given the embedded choices before it, shape (..., numbers)."""
        found: Tensor = self.to_timing(torch.cat([state, said, _clocks(place)], dim=-1))
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
        some = source.of_a_metre(rng)
        free = rng.random(count) < self.free
        # What is varied is recalled where notes are given; what followed is recalled where none are.
        told = rng.random(count) < 0.6
        kinds = np.where(told, np.where(free, FOLLOWS, np.where(rng.random(count) < 0.7, VARIES, FOLLOWS)), 0)
        passage = passages.read(some.loops, self._linked(some.loops), some.pick(count, rng), self.notes + 1, kinds, rng)
        plan = passages.hide(passage, free, rng)
        return _tensors(passages.lesson(passage, plan, Shown.some(passage, rng)))

    def _linked(self, loops: Loops) -> Links:
        if id(loops) not in self._links:
            self._links[id(loops)] = loops, linked(loops)
        return self._links[id(loops)][1]

    def logits(self, task: Task) -> list[Tensor]:
        """Logits of each choice for every note of a sequence but the first, each (streams, notes, classes)."""
        note, place = task["note"], task["place"]
        state, _ = self.memory(self.heard(note[:, :-1], place[:, :-1], task["known"][:, :-1]))
        state = self.drop(state)
        shift, pitch, duration, velocity, _ = note[:, 1:].unbind(-1)
        planes = task["planes"]
        rows = [2 * i + 1 for i in range(_LASTED)]
        index = pitch[:, :, None, None].expand(-1, -1, _LASTED, 1)
        lasted = (planes[:, :, rows].gather(3, index)[..., 0] * SIZES[2]).round().long()
        said = torch.cat(
            [spell(x) for spell, x in zip(self.spell, (shift, pitch, duration, velocity), strict=False)], -1
        )
        then = place[:, 1:]
        return [
            self.shift_logits(state, place[:, :-1], task["rhythm"]),
            self.pitch_logits(state, shift, then, task["harmony"], planes),
            self.duration_logits(state, shift, pitch, then, lasted),
            self.velocity_logits(state, said[..., : sum(WIDTHS[:3])], then),
            self.timing_logits(state, said, then),
        ]

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: nats per note; length, loudness and timing count only for notes that are not given."""
        counts = _counts(task)
        notes = counts[0].sum()
        each = [(nats * w).sum() / notes for nats, w in zip(losses(self.logits(task), task), counts, strict=True)]
        yield Aim(torch.stack(each).sum(), log=dict(zip(NAMES, (x.detach() for x in each), strict=True)))

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Bits per note without touch: of continuations, as the continuer counts them and with all that is told; and of
        the notes in a gap.
        """
        count = JUDGED // 8
        links = self._linked(source.loops)
        found: dict[str, list[Tensor]] = {}
        for part in range(3):
            firsts = source.pick(count, np.random.default_rng(part))
            # The same gaps each time.
            rng = np.random.default_rng(part)
            plain = passages.read(source.loops, links, firsts, self.notes + 1, np.zeros(count, int), rng, varied=False)
            follow = passages.read(
                source.loops, links, firsts, self.notes + 1, np.full(count, FOLLOWS), rng, varied=False
            )
            relate = passages.read(source.loops, links, firsts, self.notes + 1, np.full(count, VARIES), rng, False)
            nothing = passages.hide(plain, np.ones(count, bool), rng)
            told = Shown.only(plain, "lags", "context")
            most = Shown.only(plain, "lags", "context", "chord")
            for name, passage, plan, shown in (
                ("", plain, nothing, told),
                ("recalling_", follow, nothing, told),
                ("chords_", follow, nothing, most),
                ("ending_", plain, passages.hide_span(plain, 0.75, 1), told),
                ("middle_", relate, passages.hide_span(relate, 0.25, 0.5), most),
            ):
                task = {k: x.to(self.device) for k, x in _tensors(passages.lesson(passage, plan, shown)).items()}
                counted = _counts(task)
                bits = [
                    torch.stack([(nats * w).sum() / np.log(2), w.sum()])
                    for nats, w in zip(losses(self.logits(task), task), counted, strict=True)
                ]
                free = task["free"][:, 1:].sum()
                found.setdefault(name, []).append(torch.cat([torch.stack(bits).flatten(), free[None]]))
        figures: dict[str, float] = {}
        for name, parts in found.items():
            sums = torch.stack(parts).sum(dim=0)
            cost, free = sums[0:10:2], sums[-1]
            # Where notes are given, the cost of knowing that nothing comes between them belongs to the gaps.
            figures[f"{name}bits_a_note"] = float(cost[:3].sum() / free)
            if not name:
                figures |= {f"bits_{NAMES[i]}": float(cost[i] / sums[2 * i + 1].clamp(min=1)) for i in range(5)}
        figures["loss"] = figures["bits_a_note"] * float(np.log(2))
        return figures

    def player(self) -> nn.Module:
        """One step, including the sampling."""
        return Player(self)

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """State, spelling and description."""
        del train, valid
        return {
            "description": "Writes notes between those that you played, or after them.",
            "states": (State("memory", ("batch", self.units)),),
            "spelling": SPELLING,
            "in_key": True,
        }


class Player(nn.Module):
    """A single step: reads a note and samples the next one, each choice conditioned on those before it."""

    def __init__(self, net: Composer) -> None:
        super().__init__()
        self.net = net

    def remember(self, note: Tensor, place: Tensor, known: Tensor, memory: Tensor) -> Tensor:
        """A GRU step, written out: some exporters have had its reset gate wrong."""
        weights, units = dict(self.net.memory.named_parameters()), self.net.units
        of_heard = F.linear(self.net.heard(note, place, known), weights["weight_ih_l0"], weights["bias_ih_l0"])
        of_memory = F.linear(memory, weights["weight_hh_l0"], weights["bias_hh_l0"])
        heard_gates, heard_new = torch.split(of_heard, [2 * units, units], dim=1)
        memory_gates, memory_new = torch.split(of_memory, [2 * units, units], dim=1)
        reset, update = torch.sigmoid(heard_gates + memory_gates).chunk(2, dim=1)
        new = torch.tanh(heard_new + reset * memory_new)
        return new + update * (memory - new)

    def forward(
        self,
        note: Tensor,
        place: Tensor,
        known: Tensor,
        rhythm: Tensor,
        columns: Tensor,
        harmony: Tensor,
        sounding: Tensor,
        given: Tensor,
        noise: Tensor,
        temperature: Tensor,
        least: Tensor,
        bias: Tensor,
        memory: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the choices (batch, 5), their log-probabilities and the new state; inputs as in the model contract."""
        net = self.net
        after = self.remember(note, place, known, memory)
        draw = _Draw(given, noise, temperature, least)
        shift, of_shift = draw(0, net.shift_logits(after, place, rhythm))
        steps = F.embedding(shift[:, 0], place.new_tensor(SPELLING.shifts)[:, None])
        then = torch.stack([torch.fmod(place[:, 0] + steps[:, 0], place[:, 1]), place[:, 1]], dim=1)
        index = steps.long()[:, :, None, None] + torch.zeros(1, 1, *columns.shape[2:], dtype=torch.long)
        column = columns.gather(1, index)[:, 0]
        chord = harmony.gather(1, steps.long()[:, :, None] + torch.zeros(1, 1, harmony.shape[2], dtype=torch.long))[
            :, 0
        ]
        planes = self._planes(column, sounding, steps, note[:, 1:2])
        pitch, of_pitch = draw(1, net.pitch_logits(after, shift[:, 0], then, chord, planes), bias)
        lasted = column[:, 1 : 2 * _LASTED : 2].gather(
            2, pitch[:, :, None] + torch.zeros(1, _LASTED, 1, dtype=torch.long)
        )
        lasted = (lasted[..., 0] * SIZES[2]).round().long()
        duration, of_duration = draw(2, net.duration_logits(after, shift[:, 0], pitch[:, 0], then, lasted))
        said = torch.cat([net.spell[i](x[:, 0]) for i, x in enumerate((shift, pitch, duration))], dim=-1)
        velocity, of_velocity = draw(3, net.velocity_logits(after, said, then))
        said = torch.cat([said, net.spell[3](velocity[:, 0])], dim=-1)
        timing, of_timing = draw(4, net.timing_logits(after, said, then))
        chances = torch.cat([of_shift, of_pitch, of_duration, of_velocity, of_timing], dim=1)
        return torch.cat([shift, pitch, duration, velocity, timing], dim=1), chances, after

    @staticmethod
    def _planes(column: Tensor, sounding: Tensor, steps: Tensor, row: Tensor) -> Tensor:
        """The features of each pitch, in the order of `train.models.passages.lesson`."""
        ends, since, chord, previous = sounding.unbind(1)
        same = (steps == 0).to(column.dtype)
        below = same * (torch.arange(SIZES[1]) <= row).to(column.dtype)
        moving = torch.stack(
            [
                (ends > steps).to(column.dtype),
                since * torch.exp2(-steps / FADE),
                chord * same,
                below,
                torch.where(same > 0, previous, chord),
            ],
            dim=1,
        )
        static = STATIC - 3
        return torch.cat([column[:, :static], moving, column[:, static:]], dim=1)


class _Draw:
    """Samples the choices, or takes those that are given."""

    def __init__(self, given: Tensor, noise: Tensor, temperature: Tensor, least: Tensor) -> None:
        self._temperature = temperature
        self._noise = torch.split(noise * temperature, list(SIZES), dim=1)
        self._rare = temperature * torch.log(least.clamp(min=1e-9))
        self._given = torch.split(given, 1, dim=1)

    def __call__(self, i: int, logits: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the choice and its log-probability, both (batch, 1)."""
        score = logits if extra is None else logits + extra
        if i == 0:
            score = score.masked_fill(self._noise[i] < _OUT * self._temperature, -1e9)
        drawn = score + self._noise[i]
        if i < _PRUNED:
            # Min-p removes unlikely classes (Nguyen et al., Min-p Sampling, 2024).
            rare = score < score.amax(dim=1, keepdim=True) + self._rare
            drawn = drawn.masked_fill(rare, -1e9)
        # Gumbel-max sampling.
        choice = drawn.argmax(dim=1, keepdim=True)
        choice = torch.where(self._given[i] >= 0, self._given[i], choice)
        return choice, F.log_softmax(logits, dim=1).gather(1, choice)


_OUT = -1e3
"""Noise below this rules out a shift."""
_PRUNED = 3
"""Choices whose unlikely classes are never made: shift, pitch, duration."""
_NEVER = -30.0
"""Logit of what cannot be."""


def legal_shifts(rhythm: Tensor) -> Tensor:
    """Which shifts lead to an open cell or to the next given note: (..., `RHYTHM`) -> (..., shifts)."""
    assert SIZES[0] == GIVEN_RHYTHM + 1
    parts = [_BEFORE_GIVEN, GIVEN_RHYTHM, 1, GIVEN_RHYTHM, 1, 1]
    _, given, above, opened, opened_above, _ = torch.split(rhythm, parts, dim=-1)
    passed = (given.cumsum(dim=-1) - given + above) > 0
    near = ((given + opened) > 0) & ~passed
    same = (above + opened_above) > 0
    # Where nothing is in sight, the longest shift goes on.
    nothing = (given.sum(dim=-1, keepdim=True) + above) == 0
    return torch.cat([same, near[..., :-1], near[..., -1:] | nothing], dim=-1)


def legal_pitches(planes: Tensor) -> Tensor:
    """Which pitches are open or given, without passing over a given one: (..., planes, pitches) -> (..., pitches).

    Chords are spelt from the bottom up, so nothing may follow below the chord's last note.
    """
    given, opened, below = planes[..., _GIVEN, :], planes[..., _OPEN, :], planes[..., _BELOW, :]
    ahead = given * (1 - below)
    passed = (ahead.cumsum(dim=-1) - ahead) > 0
    return ((ahead + opened) > 0) & (below == 0) & ~passed


_BEFORE_GIVEN = RHYTHM - 2 * (GIVEN_RHYTHM + 1) - 1
_GIVEN, _OPEN, _BELOW = 2 * len(LAGS) + 2, 2 * len(LAGS) + 5, 2 * len(LAGS) + 9
"""Planes of `train.models.passages.lesson`."""


def _tensors(arrays: dict[str, np.ndarray[Any, Any]]) -> Task:
    return {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in arrays.items()}


def _counts(task: Task) -> list[Tensor]:
    """Which notes count for each choice, each (streams, notes)."""
    there, free, loud, timed = (task[name][:, 1:] for name in ("there", "free", "loud", "timed"))
    return [there, there, free, loud, timed]


def losses(logits: list[Tensor], task: Task) -> list[Tensor]:
    """Nats of each choice for every note of a sequence but the first, each (streams, notes)."""
    return [
        F.cross_entropy(x.float().flatten(0, 1), y.flatten(), reduction="none").reshape(y.shape)
        for x, y in zip(logits, task["note"][:, 1:].unbind(-1), strict=True)
    ]


def _clocks(place: Tensor) -> Tensor:
    """Clock features of positions in the bar: (..., 2) -> (..., `CLOCKS`)."""
    return clocks(place[..., 0] / place[..., 1])


def _choice(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))
