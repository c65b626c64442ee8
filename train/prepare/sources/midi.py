"""Reader for `.mid` files: symusic for speed, mido for files that symusic refuses.

POP909 (Wang et al., 2020) stores the true beats of each song in a `beat_midi.txt` beside the `.mid`, whose own tempo
and metre are not those of the music. If there is such a file, the notes are warped to its beats.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import symusic
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.music import files
from rtgen.music.drums import CHANNEL
from rtgen.music.midi import ALL_NOTES_OFF, ALL_SOUND_OFF, RESET_CONTROLLERS, SUSTAIN
from rtgen.music.time import PPQN, Metre
from train.prepare.sources.find import Source
from train.prepare.sources.piece import Part, Piece, Reading, distinct, part, sorted_rows

BEATS = "beat_midi.txt"
_TEMPO, _METRE = b"\xff\x51\x03", b"\xff\x58\x04"
"""First bytes of these meta events in a file."""
_DEFAULT_TEMPO = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Contents of a MIDI file.

    Args:
        tracks: (name, whether drums, notes), one per instrument of each track in the file.
        tempos: (tick, BPM), the first at tick 0.
        metres: (tick, metre), the first at tick 0.
    """

    tracks: tuple[tuple[str, bool, Part], ...]
    tempos: tuple[tuple[int, float], ...]
    metres: tuple[tuple[int, Metre], ...]


def read(source: Source) -> Reading:
    """Reads the music in a MIDI file.

    Raises:
        UserError: the file cannot be read.
    """
    data = source.bytes()
    if data is None:
        raise UserError(f"{source.name} does not exist; check the path")
    facts: Counter[str] = Counter()
    score = quick(data)
    if score is None:
        score = tolerant(data, source.name)
        facts["read by mido"] += 1
    if _TEMPO not in data:
        facts["no tempo: 120 BPM assumed"] += 1
    melodic = [(name, notes) for name, drums, notes in score.tracks if not drums]
    played = melodic or [(name, notes) for name, _, notes in score.tracks]
    if melodic and len(melodic) < len(score.tracks):
        facts["drum track left out"] += len(score.tracks) - len(melodic)
    names = distinct(name for name, _ in played)
    beats = source.beside(BEATS).bytes()
    if beats is not None:
        facts[f"warped to the beats in its {BEATS}"] += 1
        return Reading((_on_the_beat(source, score, names, played, beats),), facts)
    if _METRE not in data:
        facts["no metre: 4/4 assumed"] += 1
    tracks = tuple((name, notes) for name, (_, notes) in zip(names, played, strict=True))
    end = max(int((notes[0] + notes[2]).max()) for _, notes in tracks)
    tempo = _longest(score.tempos, end)
    found = stretches(score.metres, end)
    return Reading(tuple(Piece(tracks, s, bar, tempo, not melodic) for bar, s in found.items()), facts)


def _on_the_beat(
    source: Source, score: Score, names: Sequence[str], played: Sequence[tuple[str, Part]], beats: bytes
) -> Piece:
    times, downbeats = parse_beats(beats.decode("utf-8", "replace"), source.name)
    # A downbeat ends the bar before it; downbeats that are not four beats apart do not bound a bar.
    marks = np.flatnonzero(downbeats)
    runs = np.split(marks, np.flatnonzero(np.diff(marks) != 4) + 1)
    found = tuple((int(run[0]) * PPQN, int(run[-1] - run[0]) * PPQN) for run in runs if len(run) > 1)
    if not found:
        raise UserError(f"{source.name} has no bars of 4/4 in its {BEATS}; remove that to use the file's own metre")
    notes = warp(np.concatenate([n for _, n in played], axis=1), score.tempos, times)
    tracks = zip(names, np.split(notes, np.cumsum([n.shape[1] for _, n in played])[:-1], axis=1), strict=True)
    return Piece(tuple(tracks), found, tempo=round(float(60 / np.median(np.diff(times))), 3))


def quick(data: bytes) -> Score | None:
    """Reads a file with symusic; None if it refuses."""
    if data[:4] != b"MThd" or data[8:10] > b"\x00\x01" or not 0 < int.from_bytes(data[12:14]) < 0x8000:
        return None
    try:
        score: Any = symusic.Score.from_midi(data)
    except Exception:  # symusic passes on any C++ exception
        return None
    scale = PPQN / score.ticks_per_quarter
    known = [(t.name or f"Track {i}", t.is_drum, t) for i, t in enumerate(score.tracks) if len(t.notes)]
    if any(_is_cut_short(t) for _, _, t in known):
        return None
    notes = _notes([t for _, _, t in known], scale) if known else []
    tracks = tuple((name, drums, n) for (name, drums, _), n in zip(known, notes, strict=True) if n.size)
    if not tracks:
        return None
    tempos, metres = score.tempos.numpy(), score.time_signatures.numpy()
    bpm = [round(60e6 / t, 3) if t > 0 else _DEFAULT_TEMPO for t in tempos["mspq"].tolist()]
    signs = zip(_ticks(metres, scale), metres["numerator"].tolist(), metres["denominator"].tolist(), strict=True)
    fit = {tick: Metre(beats, unit) for tick, beats, unit in signs if 1 <= beats <= 32 and unit in (1, 2, 4, 8, 16)}
    return Score(
        tracks,
        tuple(sorted({0: _DEFAULT_TEMPO, **dict(zip(_ticks(tempos, scale), bpm, strict=True))}.items())),
        tuple(sorted({0: Metre(), **fit}.items())),
    )


def _is_cut_short(track: Any) -> bool:
    """Whether All Sound Off, All Notes Off or a change of mode may end notes, which symusic does not know."""
    if not len(track.controls):
        return False
    controls = track.controls.numpy()
    ends = (controls["number"] == ALL_SOUND_OFF) | (controls["number"] >= ALL_NOTES_OFF)
    return bool(ends.any()) and bool(controls["time"][ends].max() > track.notes.numpy()["time"].min())


def _ticks(events: dict[str, NDArray[np.int32]], scale: float) -> list[int]:
    found: list[int] = np.rint(events["time"] * scale).astype(int).tolist()
    return found


def _notes(tracks: Sequence[Any], scale: float) -> list[Part]:
    """Notes of symusic's tracks, paired as in `rtgen.music.files`, all tracks at once.

    If a pitch is struck again while it sounds, symusic pairs the first note-off with the first note, and so on. On a
    keyboard, the second note-on ends the first note, and the next note-off ends the second.
    """
    fields = [t.notes.numpy() for t in tracks]
    ends = np.cumsum([len(f["time"]) for f in fields])
    track = np.repeat(np.arange(len(tracks)), np.diff(ends, prepend=0))
    on, duration, pitch, velocity = (
        np.concatenate([f[name] for f in fields]).astype(np.int64) for name in ("time", "duration", "pitch", "velocity")
    )
    # Sort by pitch and time; of two note-ons on one tick, the last one in the file comes last and counts.
    key, on, duration, order = sorted_rows(track << 7 | pitch, on, duration, np.arange(len(on)))
    off, velocity = on + duration, velocity[order]
    same = key[1:] == key[:-1]
    if np.any(same & (on[1:] < off[:-1])):
        # Note-offs of a pitch ascend like its note-ons: take the next note-off after each note-on.
        off = off[np.searchsorted(key << 40 | off, key << 40 | on, side="right")]
    for number, one in enumerate(tracks):
        controls = one.controls.numpy() if len(one.controls) else {"number": np.empty(0)}
        pedal = controls["number"] == SUSTAIN
        if pedal.any():
            own = slice(ends[number - 1] if number else 0, ends[number])
            down = pedal & (controls["value"] >= 64)
            pedal |= controls["number"] == RESET_CONTROLLERS
            end = max(off[own].max(), controls["time"][-1])
            off[own] = sustained(off[own], controls["time"][pedal], down[pedal], end)
    np.minimum(off[:-1], on[1:], out=off[:-1], where=same)
    onset = np.rint(on * scale).astype(np.int64)
    duration = np.rint(off * scale).astype(np.int64) - onset
    lasts = duration > 0
    found = np.stack([onset, key & 127, duration, velocity])[:, lasts]
    return np.split(found, np.cumsum(lasts)[ends - 1][:-1], axis=1)


def sustained(off: NDArray[np.int64], times: NDArray[np.int32], down: NDArray[np.bool_], end: int) -> NDArray[np.int64]:
    """Ticks at which notes released at `off` fall silent, given the sustain pedal.

    symusic does not keep the order of events on one tick; as programs write the pedal first, so does this function.

    Args:
        off: ticks of the note-offs.
        times: ticks of the pedal's messages, ascending.
        down: whether the pedal is down from then on.
        end: tick at which a pedal that is never lifted is released; not before any of `off`.
    """
    last = np.searchsorted(times, off, side="right") - 1
    held = (last >= 0) & down[last]
    lifts = np.append(times[~down], end)
    return np.where(held, lifts[np.searchsorted(lifts[:-1], off, side="right")], off)


def tolerant(data: bytes, name: str) -> Score:
    """Reads a file with mido.

    Raises:
        UserError: the file cannot be read.
    """
    score = files.read(io.BytesIO(data), name)
    tracks = []
    for track in score.tracks:
        for channel in sorted({e.data[0] & 0x0F for e in track.events}):
            notes = part(files.notes_of(e for e in track.events if e.data[0] & 0x0F == channel))
            if notes.size:
                tracks.append((track.name, channel == CHANNEL, notes))
    if not tracks:
        raise UserError(f"{name} has no notes of any length; choose a file with music in it")
    return Score(tuple(tracks), score.tempos, score.metres)


def stretches(metres: Sequence[tuple[int, Metre]], end: int) -> dict[int, tuple[tuple[int, int], ...]]:
    """Stretches of whole bars as (start, length), by bar length; the last bar is whole if `end` lies in it."""
    found: dict[int, list[tuple[int, int]]] = {}
    for (start, metre), (stop, _) in pairwise([*_changes(metres), (end, Metre())]):
        if start >= end:
            break
        bars = -(-(end - start) // metre.bar) if end <= stop else (stop - start) // metre.bar
        if bars:
            found.setdefault(metre.bar, []).append((start, bars * metre.bar))
    return {bar: tuple(s) for bar, s in found.items()}


def _changes(metres: Sequence[tuple[int, Metre]]) -> Iterator[tuple[int, Metre]]:
    """Yields real metre changes; a metre repeated on one of its own downbeats is not one."""
    last: tuple[int, Metre] | None = None
    for tick, metre in metres:
        if last is None or metre != last[1] or (tick - last[0]) % metre.bar:
            last = (tick, metre)
            yield last


def _longest(tempos: Sequence[tuple[int, float]], end: int) -> float:
    """The tempo that covers the most ticks."""
    total: Counter[float] = Counter()
    for (start, bpm), (stop, _) in pairwise([*tempos, (max(end, tempos[-1][0]), 0.0)]):
        total[bpm] += min(stop, end) - min(start, end)
    return total.most_common(1)[0][0]


def parse_beats(text: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Beat times in seconds and whether each is the downbeat of a 4/4 bar: columns 1 and 3 of a `beat_midi.txt`.

    Raises:
        UserError: the file is not valid.
    """
    try:
        # Parse all numbers at once, which is fast, unless lines have more than three.
        rows = np.fromstring(text, sep=" ")
        if len(rows) != 3 * len(text.split("\n")) - 3 * text.endswith("\n"):
            rows = np.array([[float(f) for f in line.split()[:3]] for line in text.splitlines() if line.strip()])
        rows = rows.reshape(-1, 3)
        times, downbeats = rows[:, 0], rows[:, 2] == 1.0
    except (ValueError, IndexError):
        raise UserError(f"the {BEATS} beside {name} is not readable; remove it or repair it") from None
    if len(times) < 2 or not np.all(np.diff(times) > 0):
        raise UserError(f"the {BEATS} beside {name} has no ascending beats; remove it or repair it")
    return times, downbeats


def seconds_at(ticks: NDArray[np.int64], tempos: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
    """Converts ticks to seconds by a tempo map of (tick, BPM)."""
    marks = np.array([tick for tick, _ in tempos], np.int64)
    per_tick = np.array([60.0 / (bpm * PPQN) for _, bpm in tempos])
    passed = np.concatenate([[0.0], np.cumsum(np.diff(marks) * per_tick[:-1])])
    part = np.maximum(np.searchsorted(marks, ticks, side="right") - 1, 0)
    seconds: NDArray[np.float64] = passed[part] + (ticks - marks[part]) * per_tick[part]
    return seconds


def warp(notes: Part, tempos: Sequence[tuple[int, float]], beats: NDArray[np.float64]) -> Part:
    """Warps notes so that beat n of `beats` (seconds) is at tick 480 n.

    Times before the first and after the last beat are extrapolated with the nearest beat's length. Notes before the
    first beat have negative onsets.
    """
    seconds = seconds_at(np.stack([notes[0], notes[0] + notes[2]]), tempos)
    beat = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    on, off = np.rint((beat + (seconds - beats[beat]) / (beats[beat + 1] - beats[beat])) * PPQN).astype(np.int64)
    return np.stack([on, notes[1], np.maximum(off - on, 1), notes[3]])
