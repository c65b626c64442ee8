"""Reader for `.mid` files.

symusic reads them quickly; what it refuses mido reads.

POP909 (Wang et al., 2020) keeps the true beats of each song in a `beat_midi.txt` beside the `.mid`, whose own tempo and
metre are not the beat. Where there is such a file, the notes are warped to it.
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
from rtgen.music.time import PPQN, Metre
from train.prepare.sources.find import Source
from train.prepare.sources.piece import Part, Piece, Reading, distinct, part, sorted_rows

BEATS = "beat_midi.txt"
_DRUMS = 9
"""The channel that General MIDI gives to drums, counted from 0."""
_TEMPO, _METRE = b"\xff\x51\x03", b"\xff\x58\x04"
"""How these events begin in a file."""
_SUSTAIN = 64
_DEFAULT_TEMPO = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A file as it stands.

    Args:
        tracks: (name, whether drums, notes): one for each instrument of each of the file's tracks.
        tempos: (tick, BPM), the first at tick 0.
        metres: (tick, metre), the first at tick 0.
    """

    tracks: tuple[tuple[str, bool, Part], ...]
    tempos: tuple[tuple[int, float], ...]
    metres: tuple[tuple[int, Metre], ...]


def read(source: Source) -> Reading:
    """The music in a MIDI file.

    Raises:
        UserError: it cannot be read.
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
        facts["no tempo: 120 BPM taken"] += 1
    melodic = [(name, notes) for name, drums, notes in score.tracks if not drums]
    played = melodic or [(name, notes) for name, _, notes in score.tracks]
    if melodic and len(melodic) < len(score.tracks):
        facts["drum track left out"] += len(score.tracks) - len(melodic)
    names = distinct(name for name, _ in played)
    beats = source.beside(BEATS).bytes()
    if beats is not None:
        facts[f"put on the beat of its {BEATS}"] += 1
        return Reading((_on_the_beat(source, score, names, played, beats),), facts)
    if _METRE not in data:
        facts["no metre: 4/4 taken"] += 1
    tracks = tuple((name, notes) for name, (_, notes) in zip(names, played, strict=True))
    end = max(int((notes[0] + notes[2]).max()) for _, notes in tracks)
    tempo = _longest(score.tempos, end)
    found = stretches(score.metres, end)
    return Reading(tuple(Piece(tracks, s, bar, tempo, not melodic) for bar, s in found.items()), facts)


def _on_the_beat(
    source: Source, score: Score, names: Sequence[str], played: Sequence[tuple[str, Part]], beats: bytes
) -> Piece:
    times, downbeats = parse_beats(beats.decode("utf-8", "replace"), source.name)
    # A downbeat closes the bar before it; where four beats are not between two, no bar is.
    marks = np.flatnonzero(downbeats)
    runs = np.split(marks, np.flatnonzero(np.diff(marks) != 4) + 1)
    found = tuple((int(run[0]) * PPQN, int(run[-1] - run[0]) * PPQN) for run in runs if len(run) > 1)
    if not found:
        raise UserError(f"{source.name} has no bars of 4/4 in its {BEATS}; leave that out to read it by its own metre")
    notes = warp(np.concatenate([n for _, n in played], axis=1), score.tempos, times)
    tracks = zip(names, np.split(notes, np.cumsum([n.shape[1] for _, n in played])[:-1], axis=1), strict=True)
    return Piece(tuple(tracks), found, tempo=round(float(60 / np.median(np.diff(times))), 3))


def quick(data: bytes) -> Score | None:
    """What symusic reads; None when it refuses."""
    if data[:4] != b"MThd" or data[8:10] > b"\x00\x01" or not 0 < int.from_bytes(data[12:14]) < 0x8000:
        return None
    try:
        score: Any = symusic.Score.from_midi(data)
    except Exception:  # symusic lets whatever went wrong in C++ through
        return None
    scale = PPQN / score.ticks_per_quarter
    known = [(t.name or f"Track {i}", t.is_drum, t) for i, t in enumerate(score.tracks) if len(t.notes)]
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


def _ticks(events: dict[str, NDArray[np.int32]], scale: float) -> list[int]:
    found: list[int] = np.rint(events["time"] * scale).astype(int).tolist()
    return found


def _notes(tracks: Sequence[Any], scale: float) -> list[Part]:
    """The notes of symusic's tracks as `rtgen.music.files` has them, all tracks at once.

    Where a pitch is struck again while it sounds, symusic gives the first end to the first note and so on. A key ends
    the first note at the second strike, and the second at the next end.
    """
    fields = [t.notes.numpy() for t in tracks]
    ends = np.cumsum([len(f["time"]) for f in fields])
    track = np.repeat(np.arange(len(tracks)), np.diff(ends, prepend=0))
    on, duration, pitch, velocity = (
        np.concatenate([f[name] for f in fields]).astype(np.int64) for name in ("time", "duration", "pitch", "velocity")
    )
    # By pitch and time; of two strikes on one tick the one that comes last in the file goes last, and counts.
    key, on, duration, order = sorted_rows(track << 7 | pitch, on, duration, np.arange(len(on)))
    off, velocity = on + duration, velocity[order]
    same = key[1:] == key[:-1]
    if np.any(same & (on[1:] < off[:-1])):
        # Ends of a pitch ascend as its strikes do: the next end after each strike.
        off = off[np.searchsorted(key << 40 | off, key << 40 | on, side="right")]
    for number, one in enumerate(tracks):
        controls = one.controls.numpy() if len(one.controls) else {"number": np.empty(0)}
        pedal = controls["number"] == _SUSTAIN
        if pedal.any():
            own = slice(ends[number - 1] if number else 0, ends[number])
            end = max(off[own].max(), controls["time"][-1])
            off[own] = sustained(off[own], controls["time"][pedal], controls["value"][pedal] >= 64, end)
    np.minimum(off[:-1], on[1:], out=off[:-1], where=same)
    onset = np.rint(on * scale).astype(np.int64)
    duration = np.rint(off * scale).astype(np.int64) - onset
    lasts = duration > 0
    found = np.stack([onset, key & 127, duration, velocity])[:, lasts]
    return np.split(found, np.cumsum(lasts)[ends - 1][:-1], axis=1)


def sustained(off: NDArray[np.int64], times: NDArray[np.int32], down: NDArray[np.bool_], end: int) -> NDArray[np.int64]:
    """When notes let go at `off` fall silent, by the positions of a sustain pedal.

    symusic does not keep the order of what comes on one tick; programs that write files put the pedal first.

    Args:
        off: ticks.
        times: ticks of the pedal's messages, ascending.
        down: whether it is down from then on.
        end: the tick, none of `off` after it, at which a pedal that is never lifted lets go.
    """
    last = np.searchsorted(times, off, side="right") - 1
    held = (last >= 0) & down[last]
    lifts = np.append(times[~down], end)
    return np.where(held, lifts[np.searchsorted(lifts[:-1], off, side="right")], off)


def tolerant(data: bytes, name: str) -> Score:
    """What mido reads.

    Raises:
        UserError: it cannot be read.
    """
    score = files.read(io.BytesIO(data), name)
    tracks = []
    for track in score.tracks:
        for channel in sorted({e.data[0] & 0x0F for e in track.events}):
            notes = part(files.notes_of(e for e in track.events if e.data[0] & 0x0F == channel))
            if notes.size:
                tracks.append((track.name, channel == _DRUMS, notes))
    if not tracks:
        raise UserError(f"{name} holds no notes that last; choose a file with music in it")
    return Score(tuple(tracks), score.tempos, score.metres)


def stretches(metres: Sequence[tuple[int, Metre]], end: int) -> dict[int, tuple[tuple[int, int], ...]]:
    """By length of bar, (start, length) of the stretches of whole bars; the last bar is whole when `end` is in it."""
    found: dict[int, list[tuple[int, int]]] = {}
    for (start, metre), (stop, _) in pairwise([*_changes(metres), (end, Metre())]):
        if start >= end:
            break
        bars = -(-(end - start) // metre.bar) if end <= stop else (stop - start) // metre.bar
        if bars:
            found.setdefault(metre.bar, []).append((start, bars * metre.bar))
    return {bar: tuple(s) for bar, s in found.items()}


def _changes(metres: Sequence[tuple[int, Metre]]) -> Iterator[tuple[int, Metre]]:
    """Those that say something new: a metre named again on a downbeat of its own goes on."""
    last: tuple[int, Metre] | None = None
    for tick, metre in metres:
        if last is None or metre != last[1] or (tick - last[0]) % metre.bar:
            last = (tick, metre)
            yield last


def _longest(tempos: Sequence[tuple[int, float]], end: int) -> float:
    """The tempo that is in force for most of the ticks."""
    total: Counter[float] = Counter()
    for (start, bpm), (stop, _) in pairwise([*tempos, (max(end, tempos[-1][0]), 0.0)]):
        total[bpm] += min(stop, end) - min(start, end)
    return total.most_common(1)[0][0]


def parse_beats(text: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Beat times in seconds and whether each is the downbeat of a 4/4 bar: columns 1 and 3 of a `beat_midi.txt`.

    Raises:
        UserError: it is not such a file.
    """
    try:
        # All numbers at once, which is quick, unless lines have more than three.
        rows = np.fromstring(text, sep=" ")
        if len(rows) != 3 * len(text.split("\n")) - 3 * text.endswith("\n"):
            rows = np.array([[float(f) for f in line.split()[:3]] for line in text.splitlines() if line.strip()])
        rows = rows.reshape(-1, 3)
        times, downbeats = rows[:, 0], rows[:, 2] == 1.0
    except (ValueError, IndexError):
        raise UserError(f"the {BEATS} beside {name} is not readable; leave it out or repair it") from None
    if len(times) < 2 or not np.all(np.diff(times) > 0):
        raise UserError(f"the {BEATS} beside {name} has no ascending beats; leave it out or repair it")
    return times, downbeats


def seconds_at(ticks: NDArray[np.int64], tempos: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
    """Seconds at which `ticks` come, by a tempo map of (tick, BPM)."""
    marks = np.array([tick for tick, _ in tempos], np.int64)
    per_tick = np.array([60.0 / (bpm * PPQN) for _, bpm in tempos])
    passed = np.concatenate([[0.0], np.cumsum(np.diff(marks) * per_tick[:-1])])
    part = np.maximum(np.searchsorted(marks, ticks, side="right") - 1, 0)
    seconds: NDArray[np.float64] = passed[part] + (ticks - marks[part]) * per_tick[part]
    return seconds


def warp(notes: Part, tempos: Sequence[tuple[int, float]], beats: NDArray[np.float64]) -> Part:
    """`notes` with beat number n of `beats` (seconds) at tick 480 n.

    Before the first and after the last beat the nearest beat's length goes on. Notes before the first beat have
    negative onsets.
    """
    seconds = seconds_at(np.stack([notes[0], notes[0] + notes[2]]), tempos)
    beat = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    on, off = np.rint((beat + (seconds - beats[beat]) / (beats[beat + 1] - beats[beat])) * PPQN).astype(np.int64)
    return np.stack([on, notes[1], np.maximum(off - on, 1), notes[3]])
