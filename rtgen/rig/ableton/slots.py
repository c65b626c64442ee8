"""Clips in Live's slots: written so that none is lost and none doubled, and read.

A clip is created in an empty slot, which fails where there is one already; what belongs in it is one datagram that
first removes all notes, so that it may come twice, and late; then the notes are read back and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rtgen.errors import UserError
from rtgen.instrument.preset import MAX_BARS
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from rtgen.rig.ableton.script import Script, UnansweredError
from rtgen.rig.told.packet import Said

MOST_NOTES = 2_000
"""Most notes of a clip that is written or read."""
_AT_ONCE = 256
"""Most notes that are read back at once: on macOS Live sends no more than 9 KB."""
_SLOTS_AT_ONCE = 32
_FARTHEST = 1e6
"""Positions, in beats, are below that, which NaN is not."""
_ALL = 0, 128, -8192.0, 16384.0
"""The range of all notes: without one, AbletonOSC leaves out the highest pitch."""
_PATIENCE = 20
"""How often a clip without notes is written."""
_LENGTH, _NOTES = "/live/clip/get/length", "/live/clip/get/notes"
_Row = tuple[int, int, int, int]
Place = tuple[int, int]
"""Number of a track, and of a slot (scene) in it, from 0."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What a clip is to be.

    Args:
        loop: its notes.
        name: as Live shows it.
    """

    loop: Loop
    name: str


def write(script: Script, clip: Clip, track: int, after: int, count: int) -> int:
    """Write a clip into the next free slot of a track; return the number of the slot.

    Args:
        script: that is asked.
        clip: to be written.
        track: number of the track.
        after: number of the first slot that is looked at; those before it come last.
        count: number of slots (scenes).

    Raises:
        UserError: no slot is free, or the clip has too many notes.
        UnansweredError: the script does not answer.
    """
    if len(clip.loop) > MOST_NOTES:
        raise UserError(f"{len(clip.loop)} notes are more than rtgen writes into a clip of Live; drag the file instead")
    for slot in _free(script, track, min(after, count), count):
        if _made(script, (track, slot), clip):
            _fill(script, (track, slot), clip)
            return slot
    raise UserError("no slot is free in the track that answers; add scenes in Live, or drag the file")


def _free(script: Script, track: int, after: int, count: int) -> Iterator[int]:
    """Yield the slots of a track that are free, those from `after` on first."""
    order = iter([*range(after, count), *range(after)])
    while slots := list(islice(order, _SLOTS_AT_ONCE)):
        found = script.get(*(("/live/clip_slot/get/has_clip", (track, slot)) for slot in slots))
        yield from (slot for slot, values in zip(slots, found, strict=True) if values == (False,))


def _made(script: Script, place: Place, clip: Clip) -> bool:
    """Create a clip in a slot; return whether it is ours, and not one that the player has just made there.

    Ours has the right length and no notes. Until there is a clip the questions about it have no answer.
    """
    beats = clip.loop.length / PPQN
    found: dict[str, bool] = {}

    def done(said: Said) -> bool | None:
        if said[0] == _LENGTH and said[1][:2] == place:
            found[_LENGTH] = said[1][2:] == (beats,)
        elif said[0] == _NOTES and (rows := _read(said[1], place)) is not None:
            found[_NOTES] = not rows
        return all(found.values()) if len(found) == 2 else None

    create: Said = ("/live/clip_slot/create_clip", (*place, beats))
    return script.until([[create], [(_LENGTH, place), (_NOTES, (*place, *_ALL))]], done)


def _fill(script: Script, place: Place, clip: Clip) -> None:
    """Write name, loop and notes into a new clip, until all of it is there."""
    rows = _rows(clip.loop)
    notes: list[Any] = []
    for onset, pitch, duration, velocity in rows:
        notes += [pitch, onset / PPQN, duration / PPQN, velocity, False]
    # The notes come last: once they are there, so is everything else.
    writing: list[Said] = [
        ("/live/clip/remove/notes", (*place, *_ALL)),
        ("/live/clip/set/looping", (*place, True)),
        ("/live/clip/set/loop_start", (*place, 0.0)),
        ("/live/clip/set/loop_end", (*place, clip.loop.length / PPQN)),
        ("/live/clip/set/name", (*place, clip.name)),
    ]
    if not rows:
        _name(script, place, clip.name, writing)
        return
    writing.append(("/live/clip/add/notes", (*place, *notes)))
    for number, part in enumerate(_parts(rows)):
        begins, ends = part[0][0] - 0.5, part[-1][0] + 0.5
        window = _ALL if len(part) == len(rows) else (0, 128, begins / PPQN, (ends - begins) / PPQN)
        asking: Said = (_NOTES, (*place, *window))

        def done(said: Said, part: Sequence[_Row] = part) -> bool | None:
            return True if said[0] == _NOTES and _read(said[1], place) == list(part) else None

        # All notes come in one datagram: where the first are right the others are there as well.
        script.until([[*writing], [asking]] if number == 0 else [[asking]], done)


def _name(script: Script, place: Place, name: str, writing: Sequence[Said]) -> None:
    """Write a clip without notes, until it has its name."""
    for _ in range(_PATIENCE):
        if script.get(("/live/clip/get/name", place), first=writing) == [(name,)]:
            return
    raise UnansweredError


def _rows(loop: Loop) -> list[_Row]:
    """Return the notes as the clip has them: what begins just before the loop begins with it."""
    return sorted((max(n.onset, 0), n.pitch, n.duration, n.velocity) for n in loop.notes)


def _parts(rows: list[_Row]) -> Iterator[list[_Row]]:
    """Yield rows that are read back together: notes that begin together stay together."""
    part: list[_Row] = []
    for row in rows:
        if len(part) >= _AT_ONCE and row[0] != part[-1][0]:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def _read(values: tuple[Any, ...], place: Place, begins: float = 0.0) -> list[_Row] | None:
    """Return the notes of an answer to `get/notes`; None if it is not one about this clip, or no notes are in it.

    Deactivated notes, and those that are none, are left out.

    Args:
        values: of the answer.
        place: of the clip.
        begins: where the loop begins, in beats.
    """
    if values[:2] != place or len(values) % 5 != 2:
        return None
    rows = []
    for at in range(2, len(values), 5):
        pitch, start, duration, velocity, mute = values[at : at + 5]
        numbers = (pitch, start, duration, velocity)
        if mute or any(type(each) not in (int, float) or not abs(each) < _FARTHEST for each in numbers):
            continue
        onset, lasts = round((start - begins) * PPQN), max(round(duration * PPQN), 1)
        if 0 <= pitch <= 127:
            rows.append((onset, int(pitch), lasts, min(max(round(velocity), 1), 127)))
    return sorted(rows)


def read(script: Script, place: Place, bar: int, length: int | None = None) -> tuple[Loop, str]:
    """Return what a clip plays in a loop of rtgen's, and its name; a shorter clip goes round.

    Args:
        script: that is asked.
        place: of the clip.
        bar: ticks per bar.
        length: of the loop, in ticks; without, that of the clip, in whole bars.

    Raises:
        UserError: there is no MIDI clip, or no note in it, or too many.
        UnansweredError: the script does not answer.
    """
    (there,) = script.get(("/live/clip_slot/get/has_clip", place))
    if there != (True,):
        raise UserError("no clip is selected in Live; click a MIDI clip, and press the button again")
    facts = ("is_midi_clip", "looping", "loop_start", "loop_end", "name")
    found = dict(zip(facts, script.get(*((f"/live/clip/get/{each}", place) for each in facts)), strict=True))
    if found["is_midi_clip"] not in ((True,), (1,)):
        raise UserError("the clip that is selected in Live is an audio clip; click a MIDI clip")
    begins, ends = (_beats(found[each]) for each in ("loop_start", "loop_end"))
    name = found["name"][0] if found["name"] and isinstance(found["name"][0], str) else ""
    period = round((ends - begins) * PPQN)
    length = length or min(max(-(-period // bar), 1), MAX_BARS) * bar
    span = min(max(ends - begins, 0.0), length / PPQN)
    if period < 1:
        raise UserError("the clip that is selected in Live has no length; click another one")
    asking: Said = (_NOTES, (*place, 0, 128, begins - 0.5 / PPQN, span))

    def done(said: Said) -> list[_Row] | None:
        return _read(said[1], place, begins) if said[0] == _NOTES else None

    try:
        rows = script.until([[asking]], done)
    except UnansweredError as error:
        if script.closing:
            raise
        # All else about it was answered.
        raise UserError(
            "Live does not tell the notes of the selected clip, which may be too many for it; shorten its loop"
        ) from error
    rounds = range(0, length, period) if period >= bar // 4 else range(1)
    notes = [
        Note(start + onset, pitch, min(lasts, length - start - onset), velocity)
        for start in rounds
        for onset, pitch, lasts, velocity in rows
        if 0 <= onset < period and start + onset < length
    ][:MOST_NOTES]
    if not notes:
        raise UserError("the clip that is selected in Live has no notes; click another one")
    return Loop(length, tuple(notes), bar).monophonic_by_pitch(), name


def _beats(values: tuple[Any, ...]) -> float:
    value: Any = values[0] if values else None
    if type(value) not in (int, float) or not abs(value) < _FARTHEST:
        raise UserError("Live does not say where the loop of the selected clip begins and ends; click another one")
    return float(value)
