"""An LSTM that predicts the next note or chord from those before it.

The original read the notes and chords of all its music in one sequence, each as a number, and predicted the next one
from the last fifty; every one lasted half a beat. Its authors found no sense of key and no rhythm. Each repair is a
switch: a chord keeps its pitches, time is encoded, music is transposed to one key, the position in the bar is an input,
a symbol has an embedding instead of a number, every symbol contributes to the loss, and sequences end with their song.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from rtgen.errors import UserError
from rtgen.inference.card import State
from train.loops.augment import Augmentation
from train.loops.dataset import Loops
from train.loops.sample import GRID, Sample
from train.models import symbols as telling
from train.models.base import JUDGED, Aim, Architecture, Source, Task
from train.models.recurrent import PERIODS, Lstm, clocks
from train.models.symbols import Vocabulary
from train.prepare.sources.piece import BAR

BAR_STEPS = GRID.steps(BAR)
MEMORY = "memory"
"""The card's only state: hidden and cell state of each layer, then the steps since the bar began."""


class NoteLstm(Architecture):
    """The role `sequence` of `rtgen.inference.card`.

    Args:
        vocabulary: the symbols, the first of which is padding; derived from the music.
        symbols: maximum size of the vocabulary; rarer chords are spelt with other symbols.
        units: units of each LSTM layer.
        dense: units of the layer after them.
        dropout: dropout rate.
        context: symbols in a training sequence.
        embedding: embedding size; 0 uses the symbol's number divided by the size of the vocabulary.
        voiced: whether a chord is its pitches, or only its pitch classes.
        rhythm: encode time; otherwise each note or chord lasts half a beat.
        in_key: transpose music to C major or A minor.
        beat: add the position in the bar as input; needs `rhythm`.
        every: compute the loss on every symbol, not only on the last.
        apart: end training sequences with their song.
    """

    role: ClassVar[str] = "sequence"
    better: ClassVar[tuple[str, str]] = ("bits", "min")
    repeats: ClassVar[bool] = True

    pairs: Tensor
    steps: Tensor

    def __init__(
        self,
        vocabulary: Vocabulary,
        symbols: int = 512,
        units: Sequence[int] = (512, 512, 256),
        dense: int = 256,
        dropout: float = 0.3,
        context: int = 50,
        embedding: int = 128,
        voiced: bool = True,
        rhythm: bool = True,
        in_key: bool = True,
        beat: bool = True,
        every: bool = True,
        apart: bool = True,
    ) -> None:
        super().__init__()
        if (rhythm and not voiced) or (beat and not rhythm):
            raise ValueError("'rhythm' needs 'voiced', and 'beat' needs 'rhythm'")
        del symbols  # is for `settings_from`
        self.vocabulary = vocabulary
        self.book = telling.book_of(vocabulary)
        self.context, self.in_key, self.beat, self.every, self.apart = context, in_key, beat, every, apart
        self.units = list(units)
        self.embedding = nn.Embedding(len(vocabulary), embedding) if embedding else None
        inputs = [(embedding or 1) + 2 * len(PERIODS) * beat, *units]
        # No recurrent dropout in the last layer.
        drops = [dropout] * (len(units) - 1) + [0.0]
        self.layers = nn.ModuleList(Lstm(*sizes) for sizes in zip(inputs, units, drops, strict=False))
        self.dense = nn.Linear(units[-1], dense)
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(dense, len(vocabulary))
        self.register_buffer("steps", torch.tensor([float(s) for _, s in vocabulary]), persistent=False)
        # Bigram counts of the training data, for the baselines.
        self.register_buffer("pairs", torch.zeros(len(vocabulary), len(vocabulary), dtype=torch.int32))

    @classmethod
    def settings_from(cls, loops: Loops, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The vocabulary."""
        asked = {name: settings.get(name, True) for name in ("voiced", "rhythm", "in_key")}
        return {"vocabulary": telling.count(loops, settings.get("symbols", 512), **asked)}

    # ---- the network ------------------------------------------------------------------------------------------------

    def forward(self, symbol: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, time, symbols) after each symbol (batch, time), and the final state.

        A song starts with a state of zeros, shape (batch, numbers).
        """
        *states, at = torch.split(memory, [*(u for u in self.units for _ in range(2)), 1], dim=1)
        if self.embedding is not None:
            x = self.embedding(symbol)
        else:
            x = symbol[:, :, None].to(memory.dtype) / len(self.vocabulary)
        if self.beat:
            place = at + self.steps[symbol].cumsum(dim=1)
            x = torch.cat([x, clocks(place / BAR_STEPS)], dim=2)
            at = place[:, -1:] - BAR_STEPS * torch.floor(place[:, -1:] / BAR_STEPS)
        after: list[Tensor] = []
        for layer, hidden, cell in zip(self.layers, states[::2], states[1::2], strict=True):
            x, hidden, cell = layer(x, hidden, cell)
            after += [hidden, cell]
        logits = self.leave(self.dropout(self.dense(x)))
        return logits, torch.cat([*after, at], dim=1)

    def nothing(self, count: int) -> Tensor:
        """The initial state."""
        return torch.zeros(count, self.remembered, device=self.device)

    @property
    def remembered(self) -> int:
        """Size of the state."""
        return 2 * sum(self.units) + 1

    # ---- the task ---------------------------------------------------------------------------------------------------

    def task(self, sample: Sample, rng: Generator) -> Task:
        """Not supported: it needs songs, not single loops.

        Raises:
            NotImplementedError: always; use `draw`.
        """
        raise NotImplementedError

    def draw(self, source: Source, count: int, rng: Generator) -> Task:
        """Make sequences that start at `count` random loops: `symbol`, one longer than the context, padded at the end.

        Raises:
            UserError: an augmentation other than transposition is configured.
        """
        if replace(source.augmentation or Augmentation(), transpose=False) != Augmentation():
            raise UserError("note_lstm trains on whole songs; 'transpose' is the only augmentation it supports")
        symbol = np.zeros((count, self.context + 1), np.int64)
        for row, first in zip(symbol, source.pick(count, rng), strict=True):
            up = int(rng.integers(-5, 7)) if source.augmentation and source.augmentation.transpose else 0
            said = telling.told(
                source.loops, int(first), len(row), self.book, in_key=self.in_key, apart=self.apart, up=up
            )
            row[: len(said)] = said
        return {"symbol": torch.from_numpy(symbol)}

    def aims(self, task: Task) -> Iterator[Aim]:
        """One loss: the cross-entropy of the next symbol."""
        heard, wanted = self._split(task)
        logits, _ = self(heard, self.nothing(len(heard)))
        if self.training:
            self._count(task["symbol"])
        yield Aim(F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), ignore_index=0))

    def _split(self, task: Task) -> tuple[Tensor, Tensor]:
        """Split into inputs and targets; a target of 0 is not counted."""
        heard, wanted = task["symbol"][:, :-1], task["symbol"][:, 1:]
        if not self.every:
            later = F.pad(wanted[:, 1:], (0, 1))
            wanted = wanted * (later == 0)
        return heard, wanted

    def _count(self, symbol: Tensor) -> None:
        before, after = symbol[:, :-1].flatten(), symbol[:, 1:].flatten()
        there = after > 0
        one = torch.ones_like(before[there], dtype=torch.int32)
        self.pairs.index_put_((before[there], after[there]), one, accumulate=True)

    # ---- evaluation -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def judge(self, source: Source) -> dict[str, float]:
        """Bits per symbol and accuracy, of the model and of baselines counted in the same training music.

        `bits_a_note` counts a note together with the wait before it, so it can be compared across vocabularies.
        """
        rng = np.random.default_rng(0)
        found: dict[str, list[Tensor]] = {}
        for _ in range(4):
            task = {name: x.to(self.device) for name, x in self.draw(source, JUDGED // 4, rng).items()}
            heard, wanted = self._split(task)
            there = wanted > 0
            logits = self(heard, self.nothing(len(heard)))[0].float()[there].double()
            logits[:, 0] = -torch.inf
            guesses = {
                "": logits.softmax(dim=1),
                "_markov": telling.markov(self.pairs, heard[there]),
                "_unigram": telling.unigram(self.pairs).expand(len(logits), -1),
            }
            for name, chances in guesses.items():
                right = chances.gather(1, wanted[there][:, None])[:, 0]
                found.setdefault(f"bits{name}", []).append(-torch.log2(right))
                found.setdefault(f"accuracy{name}", []).append((chances.argmax(dim=1) == wanted[there]).double())
            found.setdefault("notes", []).append(self._notes(wanted[there]))
        values = {name: torch.cat(parts) for name, parts in found.items()}
        notes = values.pop("notes").sum()
        figures = {name: float(each.mean()) for name, each in values.items()}
        per_note = {f"bits_a_note{n}": float(values[f"bits{n}"].sum() / notes) for n in ("", "_markov", "_unigram")}
        return {"loss": figures["bits"] * float(np.log(2)), **figures, **per_note}

    def _notes(self, symbol: Tensor) -> Tensor:
        """Number of notes that each symbol strikes."""
        return torch.tensor([len(pitches) for pitches, _ in self.vocabulary], device=symbol.device)[symbol]

    def player(self) -> nn.Module:
        """The network itself."""
        return self

    def card(self, train: Source, valid: Source) -> dict[str, Any]:
        """Vocabulary, state and metrics."""
        del train
        return {
            "description": "Continues what was played, note by note and chord by chord.",
            "vocabulary": telling.symbols_of(self.vocabulary),
            "states": (State(MEMORY, ("batch", self.remembered)),),
            "in_key": self.in_key,
            "metrics": {name: round(value, 4) for name, value in self.judge(valid).items()},
        }
