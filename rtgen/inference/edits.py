"""Edits that move one attribute of a loop towards a target and, by construction, leave the others alone.

Each edit gets its target value and chooses notes by the model's log-odds: density adds or removes chords like those
present, polyphony gathers or spreads notes, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from heapq import heapify, heappop, heappush

import numpy as np

from rtgen.inference.sketch import SHORTEST, Sketch
from rtgen.music.attributes import NAMES, PER_BEAT, SD, off_beat
from rtgen.music.note import Note
from rtgen.music.time import PPQN

_ASIDE = 100.0
"""Cost that makes an option a last resort."""
_KEEP = 120.0
"""Cost, in log-odds, of changing the syncopation by 1 while editing something else."""
_LITTLE = 0.06
"""Change of syncopation that spreading a chord may cause while there are other places."""
_TINY = 1e-6
_NEARER = 8.0
"""Log-odds that a step is worth per unit of syncopation by which it gets nearer to the target."""
_FAR = 0.15
"""Cost, in log-odds, of each sixteenth of distance."""
_SPREAD = dict(zip(NAMES, SD, strict=True))
_STEPS = (1, 2, 3, 4, 5, 7)
"""Semitones that a note may move where an octave is too much."""


# ---- density --------------------------------------------------------------------------------------------------------


def density(s: Sketch, target: float) -> None:
    """Adds or removes whole columns of about the usual size, then single notes; at least one note stays."""
    wanted = max(round(target * s.loop.length / PPQN), 1)
    columns = max(round(wanted * len(s.at) / len(s)), 1) - len(s.at)
    if wanted > len(s):
        _more(s, wanted - len(s), columns)
    elif wanted < len(s):
        _fewer(s, len(s) - wanted, -columns)


def _more(s: Sketch, notes: int, columns: int) -> None:
    pitches = s.pitches()
    usual = sum(pitches) / len(pitches)
    duration = max(round(PPQN * 2 ** s.now("length")), SHORTEST)
    velocity = round(s.now("velocity"))
    free = [c for c in s.places if c not in s.at]
    each = -(-notes // max(columns, 1))
    columns = len(s.at) + min(max(columns, 0), notes, len(free))
    wide = max(float(np.std(pitches)), 4.0)
    reach = np.arange(128.0)
    outside = (reach < min(pitches) - 5) | (reach > max(pitches) + 5)
    best = np.sort(s.belief[~outside], axis=0)[-each:].mean(axis=0)
    owed, kept, gathered = 0.0, s.now("syncopation"), s.now("polyphony")
    for _ in range(notes):
        drift = _drift(s, kept)
        c = max(free, key=lambda c: best[c] + s.habit(c) - drift(c)) if len(s.at) < columns else None
        if c is None or _strays(s, kept, gathered, c) > _strays(s, kept, gathered):
            c = min(s.at, key=lambda c: (len(s.at[c]), -best[c]))
        else:
            free.remove(c)
        # Compensate for the register error of the notes added so far.
        aim = min(max(usual - owed, min(pitches)), max(pitches))
        score = s.belief[:, c] - ((reach - aim) / wide) ** 2
        score[outside] = -np.inf
        for note in s.at.get(c, ()):
            score[max(note.pitch - 2, 0) : note.pitch + 3] -= 2
        for pitch in np.argsort(-score, kind="stable")[:12].tolist():
            if s.has_room(c, pitch):
                s.put(c, pitch, duration, velocity)
                owed += pitch - usual
                break


def _strays(s: Sketch, kept: float, gathered: float, c: int | None = None) -> float:
    """Larger deviation, in standard deviations, of syncopation and polyphony after a note in column `c` or a chord."""
    chord = (len(s) + 1) / (len(s.at) + (c is not None))
    weight = s.weight()
    now = weight / len(s.at) if c is None else s.syncopation_with(c, weight)
    return max(abs(now - kept) / _SPREAD["syncopation"], abs(chord - gathered) / _SPREAD["polyphony"])


def _fewer(s: Sketch, notes: int, columns: int) -> None:
    usual, owed, kept = s.now("register"), 0.0, s.now("syncopation")

    def drift(gone: list[Note]) -> float:
        # Removed notes should have the register of the remaining ones on average.
        return abs(owed + sum(usual - note.pitch for note in gone)) / 4

    for _ in range(max(columns, 0)):
        size = notes / max(columns, 1)
        loose = [c for c in s.at if len(s.at[c]) <= notes and len(s.at) > 1 and not s.holds(c)]
        if not loose:
            break
        off = _drift(s, kept)
        c = min(loose, key=lambda c: _believed(s, c) + off(c) + abs(len(s.at[c]) - size) + drift(s.at[c]))
        notes -= len(s.at[c])
        columns -= 1
        for note in list(s.at[c]):
            s.take(c, note)
            owed += usual - note.pitch
    while notes > 0:
        loose_notes = [(c, n) for c in s.at for n in s.at[c] if not s.is_held(n) and len(s.at[c]) > 1]
        loose_notes = loose_notes or [(c, n) for c in s.at for n in s.at[c] if not s.is_held(n)]
        if not loose_notes or len(s) == 1:
            return
        c, note = min(loose_notes, key=lambda x: s.believed[x[1].pitch][x[0]] + drift([x[1]]))
        s.take(c, note)
        owed += usual - note.pitch
        notes -= 1


def _believed(s: Sketch, c: int) -> float:
    """Mean log-odds of a column's notes, plus habit."""
    notes = s.at[c]
    return sum(s.believed[note.pitch][c] for note in notes) / len(notes) + s.habit(c)


def _drift(s: Sketch, kept: float) -> Callable[[int], float]:
    """Returns the cost of adding or removing a column, by how far the syncopation then is from `kept`."""
    weight = s.weight()
    return lambda c: _KEEP * abs(s.syncopation_with(c, weight) - kept)


# ---- polyphony ------------------------------------------------------------------------------------------------------


def polyphony(s: Sketch, target: float) -> None:
    """Merges notes of weak columns into stronger ones, or spreads chords; the number of notes stays."""
    wanted = min(max(round(len(s) / max(target, 1)), 1), len(s), len(s.places))
    if wanted > len(s.at):
        _spread(s, wanted - len(s.at))
    else:
        _gather(s, len(s.at) - wanted)


def _gather(s: Sketch, columns: int) -> None:
    tried: set[int] = set()
    kept = s.now("syncopation")
    while columns > 0:
        loose = [c for c in s.at if c not in tried and not s.holds(c)]
        if len(s.at) < 2 or not loose:
            return
        drift = _drift(s, kept)
        c = min(loose, key=lambda c: _believed(s, c) + drift(c) + 2 * len(s.at[c]))
        tried.add(c)
        moves = [(note, _host(s, c, note, tried)) for note in s.at[c]]
        hosts = [host for _, host in moves if host]
        if len(hosts) == len(moves):
            for (note, _), (to, pitch) in zip(moves, hosts, strict=True):
                s.take(c, note)
                s.put(to, pitch, note.duration, note.velocity)
            columns -= 1


def _host(s: Sketch, c: int, note: Note, weak: set[int]) -> tuple[int, int] | None:
    """The best column to move a note into, and its pitch there.

    The pitch is the note's own, or an octave away if its own is taken everywhere.
    """
    believed = s.believed[note.pitch]
    hosts = [(believed[to] + 0.5 * len(s.at[to]) - 4 * _FAR * _apart(s, c, to), -to) for to in s.at if to not in weak]
    hosts.sort(reverse=True)
    for pitch in (note.pitch, note.pitch + 12, note.pitch - 12):
        for _, to in hosts:
            if 0 <= pitch <= 127 and s.has_room(-to, pitch, note):
                return -to, pitch
    return None


def _apart(s: Sketch, a: int, b: int) -> int:
    """Sixteenths between two columns, the shorter way round the loop."""
    return min((a - b) % s.count, (b - a) % s.count)


def _spread(s: Sketch, columns: int) -> None:
    free = [c for c in s.places if c not in s.at]
    chords = [(c, n) for c in sorted(s.at) if len(s.at[c]) > 1 for n in s.at[c] if not s.is_held(n)]
    if not free or not chords:
        return
    start = np.array([c for c, _ in chords])[:, None]
    after = (np.array(free)[None] - start) % s.count
    # Prefer places soon after the chord.
    score = s.belief[[n.pitch for _, n in chords]][:, free] - _FAR * 3 * np.minimum(after, 2 * (s.count - after))
    score = score + np.array([s.habit(c) for c in free])
    order = np.argsort(-score, axis=None, kind="stable").tolist()
    moved: set[int] = set()
    kept = s.now("syncopation")
    for allowed in (_LITTLE, 1.0):
        for index in order:
            if not columns:
                return
            which, to = index // len(free), free[index % len(free)]
            c, note = chords[which]
            if which in moved or to in s.at or len(s.at[c]) < 2:
                continue
            if abs(s.syncopation_with(to, s.weight()) - kept) <= allowed and s.has_room(to, note.pitch, note):
                s.move(c, note, to)
                moved.add(which)
                columns -= 1


# ---- syncopation ----------------------------------------------------------------------------------------------------


def syncopation(s: Sketch, target: float) -> None:
    """Anticipates struck beats, or moves off-beat columns onto a beat; columns move as a whole."""
    for _ in range(s.count):
        off = target - s.now("syncopation")
        moves = _away(s) if off > 0 else _back(s)
        nearer = []
        for liked, c, to in moves:
            left = abs(target - _moved(s, c, to))
            if left < abs(off) - _TINY:
                nearer.append((liked - _NEARER * left, c, to))
        if not nearer:
            return
        _, c, to = max(nearer)
        for note in list(s.at[c]):
            s.move(c, note, to)


def _moved(s: Sketch, c: int, to: int) -> float:
    """The syncopation after moving a column."""
    struck = {*s.at, to} - {c}
    return sum(off_beat(at, struck, s.count) for at in struck) / len(struck)


def _away(s: Sketch) -> list[tuple[float, int, int]]:
    """Moves off the beat: (score, beat, target column)."""
    found = []
    for beat in range(0, s.count, PER_BEAT):
        if beat not in s.at or s.holds(beat):
            continue
        for by, price in ((-2, 0.0), (-1, 0.5), (1, 3.0), (2, 3.0)):
            to = (beat + by) % s.count
            # Do not anticipate the first beat at the loop's end: notes there are cut off.
            if to not in s.places:
                continue
            better = _better(s, beat, to)
            if to in s.at:
                # Only if everything else is struck too, as in running sixteenths.
                if better <= -_ASIDE / 2:
                    continue
                better -= _ASIDE / 4
            found.append((better - price - (_ASIDE if to > beat + 2 else 0), beat, to))
    return found


def _back(s: Sketch) -> list[tuple[float, int, int]]:
    """Moves back to the next or previous beat: (score, column, beat)."""
    found = []
    for c in s.at:
        if not c % PER_BEAT or s.holds(c):
            continue
        before = c // PER_BEAT * PER_BEAT
        for beat, by in (((before + PER_BEAT) % s.count, PER_BEAT - c % PER_BEAT), (before, c % PER_BEAT + 1)):
            if beat in s.places:
                better = _better(s, c, beat)
                if beat not in s.at:
                    found.append((better - by, c, beat))
                elif better > -_ASIDE / 2 and "syncopation" in s.wished:
                    # Only if no beat is free: then it joins the notes there.
                    found.append((better - by - _ASIDE / 4 - 2 * len(s.at[beat]), c, beat))
    return found


def _better(s: Sketch, c: int, to: int) -> float:
    """Mean gain in log-odds of moving a column's notes to column `to`; strongly negative if there is no room."""
    if not all(s.has_room(to, note.pitch, note) for note in s.at[c]):
        return -_ASIDE / 2
    return sum(s.believed[n.pitch][to] - s.believed[n.pitch][c] for n in s.at[c]) / len(s.at[c])


# ---- register -------------------------------------------------------------------------------------------------------


def register(s: Sketch, target: float) -> None:
    """Moves the notes farthest behind by octaves, as in inversions, then some notes to likely pitches nearby."""
    owed = round((target - s.now("register")) * len(s))
    way = 1 if owed > 0 else -1
    _nearby(s, way, _octaves(s, way, abs(owed)))


def _octaves(s: Sketch, way: int, owed: int) -> int:
    """Repeatedly moves the note that is farthest behind by an octave; the model's log-odds decide between similar ones.

    Returns:
        Semitones left to move.
    """

    def place(c: int, note: Note) -> tuple[float, int, Note]:
        return note.pitch * way - 0.5 * _gain(s, c, note, 12 * way), c, note

    def can(note: Note) -> bool:
        return not s.is_held(note) and 0 <= note.pitch + 12 * way <= 127

    behind = [place(c, note) for c in s.at for note in s.at[c] if can(note)]
    heapify(behind)
    while owed >= 12 and behind:
        _, c, note = heappop(behind)
        if s.has_room(c, note.pitch + 12 * way, note):
            new = s.transpose(c, note, 12 * way)
            owed -= 12
            if can(new):
                heappush(behind, place(c, new))
    return owed


def _nearby(s: Sketch, way: int, owed: int) -> None:
    """Moves notes by a few semitones, each at most once, in order of the model's preference."""
    steps = [
        (_gain(s, c, note, way * by) + 0.3 * by, -c, note, by)
        for c, notes in (s.at.items() if owed > len(s) / 4 else ())
        for note in notes
        for by in _STEPS
        if not s.is_held(note) and by <= owed and 0 <= note.pitch + way * by <= 127
    ]
    moved: set[Note] = set()
    for _, c, note, by in sorted(steps, reverse=True):
        if owed <= len(s) / 4:
            return
        if by <= owed and note not in moved and s.has_room(-c, note.pitch + way * by, note):
            s.transpose(-c, note, way * by)
            moved.add(note)
            owed -= by


def _gain(s: Sketch, c: int, note: Note, semitones: int) -> float:
    return s.believed[note.pitch + semitones][c] - s.believed[note.pitch][c]


# ---- length and velocity --------------------------------------------------------------------------------------------


def length(s: Sketch, target: float) -> None:
    """Scales all durations by the same factor, up to the next onset of the pitch or the loop's end."""
    limits = s.limits()
    lasts = {note: min(note.duration, most) for note, most in limits.items()}
    change = target - s.now("length")
    bounds = {n: limits[n] if change > 0 else min(SHORTEST, lasts[n]) for n in lasts}
    slack = [abs(float(np.log2(bounds[n] / lasts[n]))) for n in lasts]
    factor = 2 ** (poured(slack, abs(change) * len(lasts)) * (1 if change > 0 else -1))

    def new(note: Note) -> Note:
        wanted = round(lasts[note] * factor)
        return replace(note, duration=min(wanted, bounds[note]) if change > 0 else max(wanted, bounds[note]))

    s.change(new)


def velocity(s: Sketch, target: float) -> None:
    """Shifts all velocities by the same amount, within 1-127, so that accents stay."""
    change = target - s.now("velocity")
    way = 1 if change > 0 else -1
    slack = [float(127 - n.velocity if change > 0 else n.velocity - 1) for n in s.notes()]
    by = round(poured(slack, abs(change) * len(slack))) * way
    s.change(lambda note: replace(note, velocity=min(max(note.velocity + by, 1), 127)))


def poured(slack: list[float], total: float) -> float:
    """The level at which amounts add up to `total` when each is the level, limited by its slack."""
    level = 0.0
    for i, room in enumerate(sorted(slack)):
        share = total / (len(slack) - i)
        if share <= room:
            return share
        level, total = room, total - room
    return level


EDITS: Mapping[str, Callable[[Sketch, float], None]] = {
    "density": density,
    "polyphony": polyphony,
    "syncopation": syncopation,
    "register": register,
    "length": length,
    "velocity": velocity,
}
"""By attribute, in the order that least disturbs the results of earlier edits."""
