"""Answers of a composer: notes written one by one, after what was played or between notes that stay.

The network reads a note and samples the next one. What stays of a loop is given; where new notes may be struck is open;
what they shall resemble is recalled (`rtgen.inference.sheet`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from rtgen.inference.cells import Knobs, distance
from rtgen.inference.chords import MEMBERS, NONE
from rtgen.inference.exchange import anchors, to_exchange
from rtgen.inference.model import Model
from rtgen.inference.pen import Pen
from rtgen.inference.recall import followed
from rtgen.inference.request import Request
from rtgen.inference.sheet import FOLLOWS, VARIES, cells, harmony, read
from rtgen.inference.spelling import known_of
from rtgen.inference.touch import Hand
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Grid

_STALE = 8.0
"""Log-odds taken from a pitch that repeats a figure with the repetition knob at 0, and half of it given at 1."""
_OVER = 1.15
"""Share of the wanted notes that a variation makes anew at first; what goes too far is taken back."""
_ABOVE = 2
"""Semitones that a variation may go beyond the highest note of the call."""
_NEAR = 7
"""Semitones that a voice may move away from where it was."""
_LIKED = {"top": 3.0, "inner": 2.0, "bass": 0.35}
"""How much more often a voice is made anew: musicians vary the tune, and leave the bass."""
_CLASH = 1.0
"""Log-odds taken from new notes that rub against notes that stay; so they do as often as in music."""
_SHARED = 2
"""Pitch classes that two chords have in common if a tune over one fits the other."""
_SCATTERED, _TOGETHER = 0.35, 25.0
"""Distance up to which a variation touches beats here and there; and log-odds by which it prefers beats in a row, per
loop and unit of distance beyond. Many new notes make sense only together."""
Tell = Callable[[list[Note], int], None]
"""Told notes of an answer that it was not told before, and the tick up to which it knows them all."""
Figures = Sequence[tuple[int, str, list[Note]]]
"""Notes of a voice in a beat: beat, voice, notes."""


def untold(notes: list[Note], until: int) -> None:
    """Ignore the notes of an answer that is wanted whole."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a composer is to write.

    Args:
        model: the composer.
        past: what was played before.
        loop: the call.
        knobs: by name.
        rng: source of all randomness.
        tell: told each part.
    """

    model: Model
    past: Sequence[Loop]
    loop: Loop
    knobs: Knobs
    rng: np.random.Generator
    tell: Tell = untold

    def request(self) -> Request | None:
        """Return the call as the network is told it; None if it cannot be told."""
        return Request.of(self.model, self.past, self.loop, self.knobs)


def continued(order: Order) -> Loop:
    """Continue what was played, for the length of `loop`, its last part.

    What followed the last time that something like `loop` was played is recalled. Below its middle, the knob
    `repetition` shows the past less often, and takes from figures that were played; above, it prefers them.
    """
    loop, request = order.loop, order.request()
    if request is None or not loop.notes:
        return loop
    heard = read((*request.past, loop), request.up, request.grid)
    repetition = order.knobs.get("repetition", 0.5)
    shown = order.rng.random() < 2 * repetition
    recalled = followed(order.past, loop) if shown else None
    pen = Pen(
        request,
        heard,
        heard.end,
        opened=request.in_range(),
        texture=request.texture(),
        recalled=None if recalled is None else cells(recalled, request.up, request.grid),
        kind=FOLLOWS,
        wish=request.wish() if request.turned() else None,
        lags=shown,
        clash=_CLASH / 4,
    )
    pen.prefer_figures(heard, _STALE * (2 * repetition - 1) * (0.5 if repetition > 0.5 else 1.0))
    return _written(pen, request, order.rng, _Teller(request, order.tell))


def generated(order: Order) -> Loop:
    """Write a new loop in the texture and key of the call, without its notes in sight.

    Real music moves on to other chords three times in four, so this does, too. At 1 of the knob `repetition` the chords
    of the call always stay, at 0 they never do.
    """
    loop, request = order.loop, order.request()
    if request is None or not loop.notes:
        return loop
    heard = read((*request.past, loop), request.up, request.grid)
    stays = order.rng.random() < order.knobs.get("repetition", 0.5) ** 2
    pen = Pen(
        request,
        heard,
        heard.end,
        opened=request.in_range(),
        texture=request.texture(),
        chord=harmony(loop, request.up) if stays else None,
        wish=request.wish(),
        lags=False,
    )
    return _written(pen, request, order.rng, _Teller(request, order.tell))


def _written(pen: Pen, request: Request, rng: np.random.Generator, teller: _Teller, kept: Sequence[Note] = ()) -> Loop:
    """Return what a pen writes beside notes that stay, and tell it part by part; the call, if that is nothing."""
    # A generator of its own: the same notes come however they are divided.
    hand, notes = Hand(request, rng.spawn(1)[0], kept), [*kept]
    for step, cell in pen.strokes(rng):
        teller.tell(notes, step)
        if cell is not None and (note := hand.strike(cell)) is not None:
            notes.append(note)
    return request.loop.with_notes(notes).monophonic_by_pitch() if notes else request.loop


class _Teller:
    """Tells an answer in parts that end on half beats; but the first may end on a sixteenth, to be there soon.

    Args:
        request: what is answered.
        tell: told each part.
    """

    def __init__(self, request: Request, tell: Tell) -> None:
        self._tell, self._grid, self._steps = tell, request.grid, request.steps
        self._told: set[tuple[int, int]] = set()
        self._until = 0

    def tell(self, notes: Iterable[Note], step: int) -> None:
        """Tell the notes before a step, up to which `notes` are those of the answer; but for what was told before."""
        until = step - step % (self._grid.steps_per_beat // (2 if self._until else 4))
        if self._until < until < self._steps:
            before = [n for n in notes if self._grid.column(n.onset, self._steps) < until]
            self._tell([n for n in before if (n.onset, n.pitch) not in self._told], until * self._grid.step)
            self._told |= {(n.onset, n.pitch) for n in before}
            self._until = until


def filled(order: Order, begin: int, end: int) -> Loop:
    """Write the notes between two ticks anew; only anchors stay.

    Args:
        order: whose knobs `temperature`, `key_lock` and those that hold anchors count.
        begin: first tick of the gap, a whole step.
        end: the tick after it.
    """
    loop, past, request = order.loop, order.past, order.request()
    early = order.model.card.grid.step // 2
    held = anchors(loop, order.knobs)
    before = [n for n in loop.notes if n.onset < begin - early]
    gone = [n for n in loop.notes if begin - early <= n.onset < end - early and (n.onset, n.pitch) not in held]
    if request is None or not loop.notes or not (past or before):
        return loop
    kept = [n for n in loop.notes if n not in gone]
    teller = _Teller(request, order.tell)
    teller.tell(kept, begin // request.grid.step)
    heard = read((*request.past, loop.with_notes(before)), request.up, request.grid)
    opened = request.in_range()
    opened[: begin // request.grid.step] = opened[end // request.grid.step :] = False
    known = past[-1] if past and past[-1].notes else None
    pen = Pen(
        request,
        heard,
        heard.end - request.steps,
        opened=opened,
        given=request.cells(n for n in kept if n not in before),
        context=None if known is None else known_of(known, request.up, request.grid),
        texture=request.texture(),
        clash=_CLASH,
    )
    return _written(pen, request, order.rng, teller, kept)


def varied(order: Order) -> Loop:
    """Play a variation at the distance set by the knob `distance` (one minus the Jaccard index of the cells).

    Figures are made anew, each a voice's notes in a beat: most of them of the tune, few of the bass; if they are many,
    mostly in beats that follow each other. The rest is given, and nothing that was taken away comes back. Nothing lies
    below the call, or far above it.
    """
    loop, request = order.loop, order.request()
    wanted = to_exchange(len(loop), order.knobs["distance"])
    if request is None or not wanted:
        return loop
    held, figures, few = anchors(loop, order.knobs), _figures(loop, request.grid), request.texture() is not None
    chosen: list[tuple[int, str, list[Note]]] = []
    taken = 0
    for beat, voice in _shuffled([*figures], loop.length, order.knobs["distance"], order.rng):
        if taken >= (1 if few else _OVER) * wanted:
            break
        loose = _loose(figures[beat, voice], held)
        if few:
            loose = loose[: wanted - taken]
        if loose:
            chosen.append((beat, voice, loose))
            taken += len(loose)
    return _rewritten(request, chosen, order.rng, order.tell, order.knobs["distance"])


def _rewritten(
    request: Request, chosen: Figures, rng: np.random.Generator, tell: Tell = untold, target: float = 1.0
) -> Loop:
    """Write figures anew, and tell the loop with them part by part.

    Beats in which nothing new comes stay as they were: variations of musicians leave no holes. The last beats do, too,
    if the loop would otherwise go beyond a distance.

    Args:
        request: with the loop.
        chosen: the figures.
        rng: source of all randomness.
        tell: as of an `Order`.
        target: the distance.
    """
    loop, beat, teller = request.loop, request.grid.steps_per_beat, _Teller(request, tell)
    left = sorted({number for number, *_ in chosen})
    found, off = list(loop.notes), -target
    teller.tell(found, left[0] * beat if left else 0)
    hand = Hand(request, rng.spawn(1)[0], loop.notes)
    new: list[Note] = []
    for step, cell in chain(_pen(request, chosen).strokes(rng), [(request.steps, None)]):
        while left and step >= (left[0] + 1) * beat:
            gone = {n for number, _, notes in chosen if number == left[0] for n in notes}
            others = [*(n for n in found if n not in gone), *new] if new else found
            beyond = distance(loop, loop.with_notes(others), request.grid) - target
            is_nearer = beyond <= -off
            if is_nearer:
                found, off = others, beyond
            new, left = [], left[1:] if is_nearer and off < 0 else []
            teller.tell(found, left[0] * beat if left else request.steps)
        if not left:
            break
        if cell is not None and (note := hand.strike(cell)) is not None:
            new.append(note)
    return loop.with_notes(found).monophonic_by_pitch()


def _pen(request: Request, chosen: Figures) -> Pen:
    """Return a pen that writes figures anew."""
    loop = request.loop
    gone = {n for _, _, notes in chosen for n in notes}
    every = request.cells(loop.notes)
    opened = _opened(request, chosen)
    opened[every[:, 0], every[:, 1]] = False
    heard = read(request.past or [loop], request.up, request.grid)
    return Pen(
        request,
        heard,
        heard.end,
        opened=opened,
        given=request.cells(n for n in loop.notes if n not in gone),
        recalled=every,
        kind=VARIES,
        chord=harmony(loop, request.up),
        wish=request.wish(),
        lags=bool(request.past),
        due=_due(request, chosen),
        texture=request.texture(),
        room=_room(chosen),
        clash=_CLASH,
    )


def blended(order: Order, a: Loop, b: Loop) -> Loop:
    """Play a loop between two of the same length: `a` at 0 of the knob `blend`, `b` at 1.

    Beat by beat, from the last to the first, `b` takes over: first its tune over the accompaniment of `a`, then all of
    it; but both at once where their chords have less than two notes in common. Where the tune changes hands, it is
    written anew.

    Args:
        order: but for its loop.
        a: a loop.
        b: another of its length.
    """
    mixed, seams = _mixed(a, b, order.knobs["blend"], order.model.card.grid)
    request = replace(order, loop=mixed).request()
    if request is None or not mixed.notes:
        return mixed
    held, figures = anchors(mixed, order.knobs), _figures(mixed, request.grid)
    tunes = [(beat, "top", _loose(figures.get((beat, "top"), []), held)) for beat in seams]
    return _rewritten(request, [tune for tune in tunes if tune[2]], order.rng, order.tell)


def _mixed(a: Loop, b: Loop, share: float, grid: Grid) -> tuple[Loop, list[int]]:
    """Return notes of two loops as they take turns, and the beats from which the tune is another's than before."""
    beats = -(-a.length // PPQN)
    of_beat = zip(harmony(a, 0).tolist(), harmony(b, 0).tolist(), strict=True)
    parts: list[tuple[float, int, tuple[str, ...]]] = []
    for beat, (one, other) in enumerate(of_beat):
        turn = (beats - 1 - beat) / beats
        if min(one, other) == NONE or MEMBERS[one] @ MEMBERS[other] >= _SHARED:
            parts += [(turn / 2, beat, ("top",)), ((1 + turn) / 2, beat, ("inner", "bass"))]
        else:
            parts.append((turn, beat, ("top", "inner", "bass")))
    parts.sort()
    taken = {(beat, voice) for _, beat, voices in parts[: round(share * len(parts))] for voice in voices}

    notes = [n for place, figure in _figures(a, grid).items() if place not in taken for n in figure]
    notes += [n for place, figure in _figures(b, grid).items() if place in taken for n in figure]
    seams = [beat for beat in range(1, beats) if ((beat, "top") in taken) is not ((beat - 1, "top") in taken)]
    return a.with_notes(notes).monophonic_by_pitch(), seams


def _opened(request: Request, chosen: Figures) -> NDArray[np.bool_]:
    """Where new notes may be struck: in the beats of the chosen figures, in the range of their voices."""
    grid, loop = request.grid, request.loop
    opened = np.zeros((request.steps, grid.pitches), bool)
    of = _voices(loop, grid)
    lowest, highest = (request.row(each(n.pitch for n in loop.notes)) for each in (min, max))
    bass = max((request.row(n.pitch) for n in loop.notes if of[n] == "bass"), default=lowest - 1)
    for beat, voice, notes in chosen:
        columns = slice(beat * grid.steps_per_beat, (beat + 1) * grid.steps_per_beat)
        if voice == "bass":
            opened[columns, lowest : min(bass + 4, highest) + 1] = True
        else:
            rows = [request.row(n.pitch) for n in notes]
            low = max(min(rows) - _NEAR, min(bass + 1, *rows), lowest)
            high = highest + _ABOVE if voice == "top" else min(max(rows) + _NEAR, highest)
            opened[columns, low : high + 1] = True
    return opened


def _due(request: Request, chosen: Figures) -> list[range]:
    """Steps from the beginning of each chosen beat to the last onset there that is taken away, in order.

    Of few notes none may be missing: each has such steps of its own.
    """
    onsets: dict[int, list[int]] = defaultdict(list)
    for beat, _, notes in chosen:
        onsets[beat] += (request.grid.column(n.onset, request.steps) for n in notes)
    each = sorted if request.texture() is not None else lambda steps: [max(steps)]
    length = request.grid.steps_per_beat
    return [range(beat * length, step + 1) for beat in sorted(onsets) for step in each(onsets[beat])]


def _room(chosen: Figures) -> dict[int, int]:
    """Return how many new notes each chosen beat may get: as many as are taken away, and one more.

    So a variation touches many beats lightly, as those of musicians do, instead of filling one with notes.
    """
    found: Counter[int] = Counter()
    for beat, _, notes in chosen:
        found[beat] += len(notes)
    return {beat: count + 1 for beat, count in found.items()}


def _voices(loop: Loop, grid: Grid) -> dict[Note, str]:
    """The voice of each note: `bass` (lowest of its column, in the lowest third), `top` (highest) or `inner`."""
    steps = grid.steps(loop.length)
    columns: dict[int, list[Note]] = defaultdict(list)
    for n in loop.notes:
        columns[grid.column(n.onset, steps)].append(n)
    pitches = [n.pitch for n in loop.notes] or [0]
    third = min(pitches) + (max(pitches) - min(pitches)) / 3
    found = {}
    for notes in columns.values():
        low, high = min(n.pitch for n in notes), max(n.pitch for n in notes)
        for n in notes:
            found[n] = "bass" if n.pitch == low <= third else "top" if n.pitch == high else "inner"
    return found


def _figures(loop: Loop, grid: Grid) -> dict[tuple[int, str], list[Note]]:
    """The notes of each voice in each beat, by beat and voice, in order."""
    steps = grid.steps(loop.length)
    found: dict[tuple[int, str], list[Note]] = defaultdict(list)
    for n, voice in _voices(loop, grid).items():
        found[grid.column(n.onset, steps) // grid.steps_per_beat, voice].append(n)
    return {place: found[place] for place in sorted(found)}


def _shuffled(
    places: Sequence[tuple[int, str]], length: int, far: float, rng: np.random.Generator
) -> list[tuple[int, str]]:
    """Beats and voices in random order, those of liked voices first; in a far variation, beats from a random one on."""
    if not places:
        return []
    scores = np.log([_LIKED[voice] for _, voice in places]) + rng.gumbel(size=len(places))
    if far > _SCATTERED:
        beats = max(length // PPQN, 1)
        after = (np.array([beat for beat, _ in places]) - rng.integers(beats)) % beats
        scores -= _TOGETHER * (far - _SCATTERED) * after / beats
    return [places[i] for i in np.argsort(-scores, kind="stable").tolist()]


def _loose(notes: Sequence[Note], held: frozenset[tuple[int, int]]) -> list[Note]:
    """The notes that are no anchors."""
    return [n for n in notes if (n.onset, n.pitch) not in held]
