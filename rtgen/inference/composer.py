"""Answers of a composer: notes written one by one, after what was played or between notes that stay.

The network reads a note and samples the next one. What stays of a loop is given; where new notes may be struck is open;
what they shall resemble is recalled (`rtgen.inference.sheet`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

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
from rtgen.inference.touch import touched
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
_SHARED = 2
"""Pitch classes that two chords have in common if a tune over one fits the other."""
Figures = Sequence[tuple[int, str, list[Note]]]
"""Notes of a voice in a beat: beat, voice, notes."""


def continued(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Continue what was played, for the length of `loop`, its last part.

    What followed the last time that something like `loop` was played is recalled. Below its middle, the knob
    `repetition` shows the past less often, and takes from figures that were played; above, it prefers them.
    """
    request = Request.of(model, past, loop, knobs)
    if request is None or not loop.notes:
        return loop
    heard = read((*request.past, loop), request.up, request.grid)
    repetition = knobs.get("repetition", 0.5)
    shown = rng.random() < 2 * repetition
    recalled = followed(past, loop) if shown else None
    pen = Pen(
        request,
        heard,
        heard.end,
        opened=request.in_range(),
        rest=request.rest(),
        recalled=None if recalled is None else cells(recalled, request.up, request.grid),
        kind=FOLLOWS,
        wish=request.wish() if request.turned() else None,
        lags=shown,
    )
    pen.prefer_figures(heard, _STALE * (2 * repetition - 1) * (0.5 if repetition > 0.5 else 1.0))
    return _written(pen, request, rng)


def generated(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Write a new loop over the chords of the call, in its texture and key, without its notes in sight."""
    request = Request.of(model, past, loop, knobs)
    if request is None or not loop.notes:
        return loop
    heard = read((*request.past, loop), request.up, request.grid)
    pen = Pen(
        request,
        heard,
        heard.end,
        opened=request.in_range(),
        rest=request.rest(),
        chord=harmony(loop, request.up),
        wish=request.wish(),
        lags=False,
    )
    return _written(pen, request, rng)


def _written(pen: Pen, request: Request, rng: np.random.Generator) -> Loop:
    """Return what a pen writes; the call, if that is nothing."""
    notes = touched(pen.write(rng), request, rng)
    return request.loop.with_notes(notes).monophonic_by_pitch() if notes else request.loop


def filled(
    model: Model, past: Sequence[Loop], loop: Loop, begin: int, end: int, knobs: Knobs, rng: np.random.Generator
) -> Loop:
    """Write the notes between two ticks anew; only anchors stay.

    Args:
        model: the composer.
        past: what was played before.
        loop: the call.
        begin: first tick of the gap, a whole step.
        end: the tick after it.
        knobs: `temperature` and `key_lock`, and those that hold anchors.
        rng: source of all randomness.
    """
    request = Request.of(model, past, loop, knobs)
    early = model.card.grid.step // 2
    held = anchors(loop, knobs)
    before = [n for n in loop.notes if n.onset < begin - early]
    gone = [n for n in loop.notes if begin - early <= n.onset < end - early and (n.onset, n.pitch) not in held]
    if request is None or not loop.notes or not (past or before):
        return loop
    heard = read((*request.past, loop.with_notes(before)), request.up, request.grid)
    opened = np.zeros((request.steps, request.grid.pitches), bool)
    opened[begin // request.grid.step : end // request.grid.step] = True
    kept = [n for n in loop.notes if n not in gone]
    known = past[-1] if past and past[-1].notes else None
    pen = Pen(
        request,
        heard,
        heard.end - request.steps,
        opened=opened,
        given=request.cells(n for n in kept if n not in before),
        context=None if known is None else known_of(known, request.up, request.grid),
    )
    found = loop.with_notes([*kept, *touched(pen.write(rng), request, rng)]).monophonic_by_pitch()
    return found if found.notes else loop


def varied(model: Model, past: Sequence[Loop], loop: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Play a variation at the distance set by the knob `distance` (one minus the Jaccard index of the cells).

    Figures are made anew, each a voice's notes in a beat: most of them of the tune, few of the bass. The rest is given,
    and nothing that was taken away comes back. Nothing lies below the call, or far above it.
    """
    request = Request.of(model, past, loop, knobs)
    wanted = to_exchange(len(loop), knobs["distance"])
    if request is None or not wanted:
        return loop
    held, figures = anchors(loop, knobs), _figures(loop, request.grid)
    chosen: list[tuple[int, str, list[Note]]] = []
    taken = 0
    for beat, voice in _shuffled([*figures], rng):
        if taken >= _OVER * wanted:
            break
        if loose := _loose(figures[beat, voice], held):
            chosen.append((beat, voice, loose))
            taken += len(loose)
    return _nearest(request, *_anew(request, chosen, rng))


def _anew(request: Request, chosen: Figures, rng: np.random.Generator) -> tuple[Figures, list[Note]]:
    """Write figures anew; return those for which something new came, and the new notes.

    The others shall stay: variations of musicians leave no holes.
    """
    loop = request.loop
    gone = {n for _, _, notes in chosen for n in notes}
    every = request.cells(loop.notes)
    opened = _opened(request, chosen)
    opened[every[:, 0], every[:, 1]] = False
    heard = read(request.past or [loop], request.up, request.grid)
    pen = Pen(
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
        room=_room(chosen),
    )
    new = touched(pen.write(rng), request, rng)
    beats = {_beat(request, n) for n in new}
    return [figure for figure in chosen if figure[0] in beats], new


def blended(model: Model, past: Sequence[Loop], a: Loop, b: Loop, knobs: Knobs, rng: np.random.Generator) -> Loop:
    """Play a loop between two of the same length: `a` at 0 of the knob `blend`, `b` at 1.

    Beat by beat, from the last to the first, `b` takes over: first its tune over the accompaniment of `a`, then all of
    it; but both at once where their chords have less than two notes in common. Where the tune changes hands, it is
    written anew.
    """
    share = knobs["blend"]
    mixed, seams = _mixed(a, b, share, model.card.grid)
    request = Request.of(model, past, mixed, knobs)
    if request is None or not mixed.notes:
        return mixed
    held, figures = anchors(mixed, knobs), _figures(mixed, request.grid)
    tunes = [(beat, "top", _loose(figures.get((beat, "top"), []), held)) for beat in seams]
    return _exchanged(mixed, *_anew(request, [tune for tune in tunes if tune[2]], rng))


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
    """Steps from the beginning of each chosen beat to the last onset there that is taken away, in order."""
    last: dict[int, int] = {}
    for beat, _, notes in chosen:
        last[beat] = max([last.get(beat, 0), *(request.grid.column(n.onset, request.steps) for n in notes)])
    return [range(beat * request.grid.steps_per_beat, step + 1) for beat, step in sorted(last.items())]


def _room(chosen: Figures) -> dict[int, int]:
    """Return how many new notes each chosen beat may get: as many as are taken away, and one more.

    So a variation touches many beats lightly, as those of musicians do, instead of filling one with notes.
    """
    found: Counter[int] = Counter()
    for beat, _, notes in chosen:
        found[beat] += len(notes)
    return {beat: count + 1 for beat, count in found.items()}


def _beat(request: Request, note: Note) -> int:
    """The beat in which a note is struck."""
    return request.grid.column(note.onset, request.steps) // request.grid.steps_per_beat


def _nearest(request: Request, chosen: Figures, new: Sequence[Note]) -> Loop:
    """Return the variation, with the last beats as they were if it would go too far without that."""
    loop, grid, target = request.loop, request.grid, request.knobs["distance"]
    order = list(dict.fromkeys(beat for beat, *_ in chosen))

    def with_beats(count: int) -> Loop:
        beats = order[:count]
        figures = [figure for figure in chosen if figure[0] in beats]
        return _exchanged(loop, figures, [n for n in new if _beat(request, n) in beats])

    best = with_beats(len(order))
    off = distance(loop, best, grid) - target
    for count in range(len(order) - 1, 0, -1):
        if off <= 0:
            break
        other = with_beats(count)
        if abs(distance(loop, other, grid) - target) >= abs(off):
            break
        best, off = other, distance(loop, other, grid) - target
    return best


def _exchanged(loop: Loop, chosen: Figures, new: Sequence[Note]) -> Loop:
    gone = {n for _, _, notes in chosen for n in notes}
    return loop.with_notes([*(n for n in loop.notes if n not in gone), *new]).monophonic_by_pitch()


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


def _shuffled(places: Sequence[tuple[int, str]], rng: np.random.Generator) -> list[tuple[int, str]]:
    """Beats and voices in random order, those of liked voices first."""
    scores = np.log([_LIKED[voice] for _, voice in places]) + rng.gumbel(size=len(places))
    return [places[i] for i in np.argsort(-scores, kind="stable").tolist()]


def _loose(notes: Sequence[Note], held: frozenset[tuple[int, int]]) -> list[Note]:
    """The notes that are no anchors."""
    return [n for n in notes if (n.onset, n.pitch) not in held]
