"""Writes the notes of a composer's answer, one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import OUT_OF_KEY
from rtgen.inference.hearing import hearing, remembered, spelling_of
from rtgen.inference.model import Tensor, memory_of, step_of
from rtgen.inference.request import Request
from rtgen.inference.sheet import Ints, Read, Sheet, told
from rtgen.inference.spelling import CONTEXT

FIGURE = 4
"""Notes in a figure, each given by its shift from the previous onset and its pitch."""
_FIRM = 4
"""Exponent of the key lock in the penalty of pitches outside the key, which the network knows by itself."""
_MOST_A_BEAT = 12
"""New notes a beat after which an answer ends."""
_LONG = 3
"""Steps for which a note has to sound on to clash with a new one."""
_LEAST = 0.01
"""Choices less likely than this fraction of the likeliest are never made. Rests and held notes are rare one by one, but
not together: with more of them left out, answers are even and without a breath."""
_SPREAD = (1.0, 0.9, 1.0, 0.9, 1.0)
"""Temperature of the shift, pitch, duration, velocity and timing, times that of the knob."""
_DRAWS, _NEVER = 3, -30.0
"""Draws of a note that would stand within two semitones of another one of its chord, and the log-odds it then has."""
Cell = tuple[int, int, int, int, int]
_OUT = -1e4
"""Noise of a choice that is ruled out."""


class Pen:
    """Writes the notes of an answer, one by one.

    Args:
        request: what is asked for.
        heard: what was heard before it.
        begin: first step of the answer.
        opened: where new notes may be struck, shape (steps, pitches).
        given: cells of given notes.
        recalled: cells of the recalled loop.
        kind: what that loop is to the answer.
        chord: chord of each beat; None if it is not told.
        wish: attributes that the answer shall have; None if they are not told.
        context: of the bars before the answer; by default of the last loop that was heard.
        lags: whether what was struck some bars ago is shown.
        due: spans of steps of the answer, in order, of which each shall get a new note.
        rest: the longest silence, in steps; None for any.
        room: most new notes of each beat; beats without an entry have room for any number.
        clash: log-odds taken from a pitch a minor second or ninth from one that sounds on, or is given within a beat.
    """

    def __init__(
        self,
        request: Request,
        heard: Read,
        begin: int,
        *,
        opened: NDArray[np.bool_],
        given: Ints | None = None,
        recalled: Ints | None = None,
        kind: int = 0,
        chord: Ints | None = None,
        wish: Sequence[float] | None = None,
        context: Tensor | None = None,
        lags: bool = True,
        due: Sequence[range] = (),
        rest: int | None = None,
        room: Mapping[int, int] | None = None,
        clash: float = 0.0,
    ) -> None:
        unknown = np.zeros(CONTEXT, np.float32) if context is None else context
        before = heard.ahead if begin == heard.end else unknown
        begin = _within_reach(begin, int(heard.step[-1]), request)
        self._model, self._begin, self._bar = request.model, begin, request.bar
        self._listens, self._writes = memory_of(self._model.card), step_of(self._model.card)
        some = np.zeros((0, 5), np.int64) if given is None else given
        seen = some, opened, recalled, chord
        self._sheet = Sheet(heard, begin, request.steps, request.bar, request.grid, *seen, lags=lags)
        self._of_loop = told(before, wish, 0 if recalled is None else kind)
        memory = hearing(request.model).hear(request.model, heard)
        assert memory is not None  # nothing stops it
        self._memory = memory
        self._heard: dict[str, Tensor] = {
            "note": heard.note[-1:],
            "place": heard.place[-1:],
            "known": heard.known[-1:],
        }
        pitches = range(request.grid.pitch_low, request.grid.pitch_high + 1)
        outside = np.array([not request.scale.contains(pitch - request.up) for pitch in pitches])
        lock = request.knobs["key_lock"]
        self._bias = (-OUT_OF_KEY * lock**_FIRM if lock < 1 else _NEVER) * outside
        self._plain: dict[str, Tensor] = {
            "given": np.full((1, len(request.model.card.classes())), -1, np.int64),
            "temperature": np.full((1, 1), request.knobs["temperature"], np.float32),
            "least": np.full((1, 1), _LEAST, np.float32),
        }
        self._rest, self._room, self._beat = rest, dict(room or {}), request.grid.steps_per_beat
        self._clusters, self._clash = request.has_clusters(), clash
        self._spread = np.repeat(_SPREAD, request.model.card.classes())
        self._due = [range(begin + span.start, begin + span.stop) for span in due]
        self._most = _MOST_A_BEAT * request.steps // request.grid.steps_per_beat
        self._shifts = np.array(spelling_of(request.model).shifts)
        self._figures: dict[tuple[tuple[int, int], ...], Counter[int]] = defaultdict(Counter)
        self._latest: tuple[tuple[int, int], ...] = ()
        self._fresh = 0.0

    def prefer_figures(self, heard: Read, log_odds: float) -> None:
        """Add log-odds to pitches that repeat a figure of the last loop that was heard."""
        if not log_odds:
            return
        self._fresh = log_odds
        for shift, row in heard.note[len(heard.note) - heard.last :, :2].tolist():
            self._say(shift, row)

    def _say(self, shift: int, row: int) -> None:
        if len(self._latest) == FIGURE - 1:
            self._figures[self._latest][row] += 1
        self._latest = (*self._latest, (shift, row))[-(FIGURE - 1) :]

    def strokes(self, rng: np.random.Generator) -> Iterator[tuple[int, Cell | None]]:
        """Write; yield the step of each note in order and, unless it was given, its cell (`sheet.cells`)."""
        sheet = self._sheet
        spelling = spelling_of(self._model)
        count = 0
        while count < self._most and sheet.is_anything_open():
            feed = {**self._heard, **self._memory}
            if (forced := sheet.only_next()) is not None:
                # No choice to make.
                outputs = self._model.run(feed, self._listens)
                step, row = forced
                shift, touch = int(spelling.shift(step - sheet.now)), []
            else:
                feed |= {**self._plain, **sheet.seen()}
                bias, drawn = self._biased(), None
                for _ in range(_DRAWS):
                    feed["noise"] = self._in_time(self._spread * rng.gumbel(size=len(self._spread)))[None].astype(
                        np.float32
                    )
                    feed["bias"] = bias[None].astype(np.float32)
                    outputs = self._model.run(feed, self._writes)
                    shift, row, *touch = outputs["chosen"][0].tolist()
                    step = sheet.now + spelling.shifts[shift]
                    if drawn is not None and step < sheet.end and not sheet.is_free(step, row):
                        shift, row, touch = drawn  # there is nothing else
                        step = sheet.now + spelling.shifts[shift]
                        break
                    if self._clusters or not sheet.crowds(step, row):
                        break
                    drawn = shift, row, touch
                    bias[row] += _NEVER
            self._memory = remembered(outputs)
            if step >= sheet.end:
                break
            if (note := sheet.given.get((step, row))) is not None:
                touch = list(note)
                yield step - self._begin, None
            elif sheet.is_open(step, row):
                count += 1
                yield step - self._begin, (step - self._begin, row, touch[0], touch[1], touch[2])
                self._due = [span for span in self._due if step not in span]
            else:
                break  # no choice of a model that keeps its contract
            if self._fresh:
                self._say(shift, row)
            sheet.strike(step, row, touch[0])
            if note is None:
                self._fill_up((step - self._begin) // self._beat)
            self._heard = {
                "note": np.array([[shift, row, *touch]], np.int64),
                "place": np.array([[(step - self._begin) % self._bar, self._bar]], np.float32),
                "known": np.concatenate([self._of_loop, sheet.chord_at(step)])[None],
            }

    def _fill_up(self, beat: int) -> None:
        """Count a new note of a beat, and close the beat when it is full."""
        if beat in self._room:
            self._room[beat] -= 1
            if not self._room[beat]:
                self._sheet.close(self._begin + beat * self._beat, self._begin + (beat + 1) * self._beat)

    def _in_time(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rule out shifts past the end of a span that still has to get a note, if it can get one, and longer rests."""
        sheet = self._sheet
        self._due = [span for span in self._due if sheet.can_reach(span.stop)]
        latest = self._due[0].stop - 1 if self._due else sheet.end + len(self._shifts)
        if self._rest is not None and (limit := sheet.silent_from() + self._rest) < sheet.end:
            latest = min(latest, max(limit, self._begin))
        noise[: len(self._shifts)][self._shifts + sheet.now > latest] = _OUT
        return noise

    def _biased(self) -> Tensor:
        """Return log-odds to add to each pitch."""
        bias = self._bias.copy()
        if self._clash:
            bias -= self._clash * self._sheet.rubs(_LONG, self._beat)
        if self._fresh:
            for row, times in self._figures.get(self._latest, Counter[int]()).items():
                bias[row] += self._fresh * min(times, 3)
        return bias


def _within_reach(begin: int, last: int, request: Request) -> int:
    """Return the first step of an answer, without those bars of silence before it that no shift spans."""
    longest = spelling_of(request.model).shifts[-1]
    while begin - last > longest and begin - request.bar > last:
        begin -= request.bar
    return min(begin, last + longest)
