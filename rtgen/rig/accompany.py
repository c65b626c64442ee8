"""`rtgen accompany`: chords, bass and drums for a melody in a file, as they would come while it is played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtgen.errors import UserError
from rtgen.inference.band import Band, Touch, ends
from rtgen.music import files
from rtgen.music.drums import CHANNEL
from rtgen.music.note import Note
from rtgen.music.parts import Part
from rtgen.music.time import HALF, Metre
from rtgen.rig.worker.harmony import Chords, by_half

MELODY = "melody"
_LOOK_BARS = 1
_PROGRAMS: dict[Part, int] = {"bass": 33, "comping": 4}
"""General MIDI: electric bass (finger), electric piano."""


@dataclass(frozen=True, slots=True)
class Accompanied:
    """A melody with its parts.

    Args:
        score: the file, with a track for each part and markers for the chords.
        melody: what was heard.
        parts: notes of each part, with onsets in ticks of the song.
        chords: where each begins, in ticks, and its name.
        length: in ticks, whole bars.
        metre: of the song.
        tempo: in BPM, at its beginning.
    """

    score: files.Score
    melody: tuple[Note, ...]
    parts: dict[Part, list[Note]]
    chords: list[tuple[int, str]]
    length: int
    metre: Metre
    tempo: float


def melody_of(score: files.Score, name: str) -> tuple[tuple[files.Track, ...], tuple[Note, ...]]:
    """Return the tracks that are heard, and their notes: those called melody, or else all but drums.

    Raises:
        UserError: there are no notes but drums.
    """
    named = tuple(track for track in score.tracks if track.name.strip().lower() == MELODY)
    tracks = named or score.tracks
    events = [e for track in tracks for e in track.events if e.data[0] & 0x0F != CHANNEL]
    notes = tuple(sorted(files.notes_of(sorted(events, key=lambda e: e.tick))))
    if not notes:
        raise UserError(f"{name} has no melody, only drums; choose another file")
    return tracks, notes


def played(
    notes: Sequence[Note], plans: Sequence[Chords], metre: Metre, parts: Sequence[Part]
) -> tuple[dict[Part, list[Note]], list[tuple[int, str]]]:
    """Return the parts to a melody, and the chords.

    Args:
        notes: the melody.
        plans: at each half beat, the chord of it and those planned after it, from `harmonised`.
        metre: of the song.
        parts: which to play.
    """
    band, touch = Band(metre, parts), Touch()
    found: dict[Part, list[Note]] = {part: [] for part in parts}
    chords: list[tuple[int, str]] = []
    before = None
    for half, (plan, within) in enumerate(zip(plans, by_half(notes, len(plans)), strict=True)):
        made = band.play(half, before, plan, touch)
        for part, new in made.items():
            if ends(part, bool(new), plan[0] != before):
                found[part] = [_cut(note, half * HALF) for note in found[part]]
            found[part] += new
        if plan[0] != before and touch.silent is not None:
            chords.append((half * HALF, str(plan[0]) if plan[0] else "-"))
        before = plan[0] if touch.silent is not None else None
        touch = touch.heard(within, half)
    return found, chords


def _cut(note: Note, tick: int) -> Note:
    return replace(note, duration=tick - note.onset) if note.onset < tick < note.end else note


def accompanied(
    score: files.Score,
    name: str,
    model: Path,
    *,
    seed: int,
    temperature: float,
    ahead: int,
    parts: Sequence[Part],
) -> Accompanied:
    """Return a melody with its parts.

    Args:
        score: the file.
        name: of the file, for messages.
        model: file of the model.
        seed: of all chance.
        temperature: 0 takes the likeliest chords.
        ahead: half beats before they sound at which chords are committed.
        parts: which to play.

    Raises:
        UserError: there is no melody, or the model cannot be run.
    """
    from rtgen.rig.worker.harmony import harmonised

    tracks, notes = melody_of(score, name)
    metre = score.metres[0][1]
    if metre.bar % HALF:
        raise UserError(f"{name} is in {metre}, whose bars are not whole half beats; choose another file")
    length = -(-max(n.end for n in notes) // metre.bar) * metre.bar
    look = _LOOK_BARS * metre.bar // HALF
    plans = harmonised(
        model, notes, metre, length // HALF, seed=seed, temperature=temperature, ahead=ahead, look=max(look, ahead + 1)
    )
    made, chords = played(notes, plans, metre, parts)
    used = {e.data[0] & 0x0F for track in tracks for e in track.events}
    free = [channel for channel in range(1, 16) if channel != CHANNEL and channel not in used]
    added = []
    for part in parts:
        channel = CHANNEL if part == "drums" else free.pop(0) if free else 15
        events = files.note_events(made[part], channel=channel)
        if part in _PROGRAMS:
            events = [files.Event(0, bytes((0xC0 | channel, _PROGRAMS[part]))), *events]
        added.append(files.Track(part, tuple(events)))
    markers = tuple(chords)
    whole = files.Score((*tracks, *added), score.tempos, score.metres[:1], markers, length)
    return Accompanied(whole, notes, made, chords, length, metre, score.tempos[0][1])
