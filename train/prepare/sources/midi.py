"""Reader for `.mid` files: a vectorised one for regular files, and that of `rtgen.music.files` for all others.

POP909 (Wang et al., 2020) stores the true beats of each song in a `beat_midi.txt` beside the `.mid`, whose own tempo
and metre are not those of the music. If there is such a file, the notes are warped to its beats.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.music import files
from rtgen.music.drums import CHANNEL
from rtgen.music.midi import ALL_NOTES_OFF, ALL_SOUND_OFF, RESET_CONTROLLERS, SUSTAIN
from rtgen.music.time import PPQN, Metre, stretches
from train.prepare.sources.find import Source
from train.prepare.sources.piece import Part, Piece, Reading, distinct, part

BEATS = "beat_midi.txt"
_TEMPO, _METRE = b"\xff\x51\x03", b"\xff\x58\x04"
"""First bytes of these meta events in a file."""
_SHORTEST_BEAT_S = 0.01
_END_OF_TRACK = 0x2F

# The grammar of regular tracks (Standard MIDI Files 1.0, section 3). All quantifiers are possessive: no backtracking.
_NUMBER = rb"[\x80-\xff]{0,3}+[\x00-\x7f]"
_LONG_STATUS, _SHORT_STATUS, _DATA = rb"[\x80-\xbf\xe0-\xef]", rb"[\xc0-\xdf]", rb"[\x00-\x7f]"
_LONG_RUN = re.compile(b"(?:%b%b%b{2}(?:%b%b{2})*+)++" % (_NUMBER, _LONG_STATUS, _DATA, _NUMBER, _DATA))
"""Channel messages with two data bytes, with running status."""
_SHORT_RUN = re.compile(b"(?:%b%b%b(?:%b%b)*+)++" % (_NUMBER, _SHORT_STATUS, _DATA, _NUMBER, _DATA))
"""Channel messages with one data byte, with running status."""
_OTHER = re.compile(rb"%b(?:\xff([\x00-\x7f])|[\xf0\xf7])(%b)" % (_NUMBER, _NUMBER))
"""The start of a meta event, an exclusive message, a further packet of one, or an escape: its kind and its length."""

Ints = NDArray[np.int64]


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
    score = quick(data) or tolerant(data, source.name)
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
    of_bar: dict[int, list[tuple[int, int]]] = {}
    for start, length, metre in stretches(score.metres, end):
        of_bar.setdefault(metre.bar, []).append((start, length))
    return Reading(tuple(Piece(tracks, tuple(s), bar, tempo, not melodic) for bar, s in of_bar.items()), facts)


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
    """Reads a regular file with numpy, ten times as fast as `tolerant`, and to the same notes.

    Returns:
        The contents; None if the file must be read by `tolerant`. It must if a byte is not where the grammar of a
        regular file has it, if a note has no end, or no length, or is ended by All Sound Off or All Notes Off, and if
        the file is too long.
    """
    try:
        division, spans = files.chunks(data, "")
        cut = [_cut(data, *span) for span in spans]
    except (UserError, ValueError):
        return None
    total = sum(len(starts) for starts, _ in cut)
    if not 0 < total <= files.MAX_EVENTS:
        return None
    track = np.repeat(np.arange(len(cut)), [len(starts) for starts, _ in cut])
    firsts = np.searchsorted(track, np.arange(len(cut)))
    events = _decoded(data, np.concatenate([starts for starts, _ in cut]), track, PPQN / division)
    told, names = files.Told(), []
    for number, (_, metas) in enumerate(cut):
        told.name = ""
        for index, kind, body in metas:
            told.meta(int(events.tick[firsts[number] + index]), kind, body)
        names.append(told.name or f"Track {number}")
    music = events.status < 0xF0
    if music.any() and events.tick[music].max() > files.MAX_BEATS * PPQN:
        return None
    found = _notes(events)
    if not found:
        return None
    tracks = tuple((names[lane >> 4], lane & 15 == CHANNEL, notes) for lane, notes in found)
    return Score(tracks, tuple(sorted(told.tempos.items())), tuple(sorted(told.metres.items())))


def _cut(data: bytes, at: int, end: int) -> tuple[Ints, list[tuple[int, int, bytes]]]:
    """Cuts a track into events.

    Args:
        data: contents of the file.
        at: where the track's events begin.
        end: where they end.

    Returns:
        Where each event begins, with its delta time; and meta events as (number of the event, kind, contents).

    Raises:
        ValueError: the track is not regular.
    """
    starts, metas, count = [np.empty(0, np.int64)], [], 0
    while at < end:
        run, lows = _LONG_RUN.match(data, at, end), 3
        if run is None:
            run, lows = _SHORT_RUN.match(data, at, end), 2
        if run is not None:
            # The last byte of a delta time and the data are below 128, all others are not: a message ends with every
            # third of them, or every second one.
            low = np.flatnonzero(np.frombuffer(data, np.uint8, run.end() - at, at) < 0x80)
            starts.append(at + np.append(0, low[lows - 1 : -1 : lows] + 1))
            count += len(low) // lows
            at = run.end()
            continue
        other = _OTHER.match(data, at, end)
        if other is None:
            raise ValueError("neither a channel message, nor a meta event, nor an exclusive message")
        starts.append(np.array([at]))
        length = 0
        for byte in other[2]:
            length = length << 7 | byte & 0x7F
        at = other.end() + length
        if at > end:
            raise ValueError("an event reaches beyond its track")
        if other[1] is not None:
            metas.append((count, other[1][0], data[other.end() : at]))
        count += 1
        if other[1] == bytes((_END_OF_TRACK,)):
            break
    return np.concatenate(starts), metas


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """The events of a file in its order; all of shape (events).

    Args:
        lane: 16 times the track, plus the channel.
        tick: position.
        status: with the channel; 240 and above if it is not a channel message.
        first: the first data byte of a channel message.
        second: the second one; anything if it has only one.
    """

    lane: Ints
    tick: Ints
    status: Ints
    first: Ints
    second: Ints


def _decoded(data: bytes, starts: Ints, track: Ints, scale: float) -> _Events:
    """Decodes the events that begin at `starts`.

    Args:
        data: contents of the file.
        starts: where the events begin, with their delta times.
        track: of each event, ascending.
        scale: ticks per unit of time of the file.
    """
    content = np.frombuffer(data + bytes(3), np.uint8)
    last = starts
    delta = content[last].astype(np.int64) & 0x7F
    for _ in range(3):
        more = content[last] >= 0x80
        last = last + more
        delta = np.where(more, delta << 7 | content[last] & 0x7F, delta)
    position = np.cumsum(delta)
    before = np.searchsorted(track, track) - 1
    position -= np.where(before >= 0, position[before], 0)
    told = content[last + 1] >= 0x80
    # Without a status of its own an event has that of the last one that has.
    status = content[last + 1][np.maximum.accumulate(np.where(told, np.arange(len(starts)), 0))]
    first = last + 1 + told
    ticks = np.rint(position * scale).astype(np.int64)
    status, one, two = (each.astype(np.int64) for each in (status, content[first], content[first + 1]))
    return _Events(track << 4 | status & 15, ticks, status, one, two)


def _notes(events: _Events) -> list[tuple[int, Part]] | None:
    """Pairs note-ons with note-offs as `files.notes_of` does: any event of a pitch ends the note before it.

    Returns:
        The notes of each lane that has some; None if one has no end, no length, or is ended by a channel mode message.
    """
    which = np.flatnonzero(events.status < 0xA0)
    key = events.lane[which] << 7 | events.first[which]
    order = np.argsort(key, kind="stable")
    which, key = which[order], key[order]
    starts, tick = (events.status[which] >= 0x90) & (events.second[which] > 0), events.tick[which]
    same = key[1:] == key[:-1]
    if np.any(starts & np.append(~same, True)[: len(starts)]):
        return None
    if np.any(same & starts[:-1] & ~starts[1:] & (tick[1:] == tick[:-1])):
        return None
    control = events.status & 0xF0 == 0xB0
    ends = control & ((events.first == ALL_SOUND_OFF) | (events.first >= ALL_NOTES_OFF))
    if len(which) and np.any(ends[which.min() :]):
        return None
    on = np.flatnonzero(starts)
    off = tick[on + 1]
    pedal = np.flatnonzero(control & ((events.first == SUSTAIN) | (events.first == RESET_CONTROLLERS)))
    down = (events.first[pedal] == SUSTAIN) & (events.second[pedal] >= 64)
    if down.any():
        released = np.flatnonzero(~starts[on + 1])
        off[released] = sustained(events, which[on[released] + 1], pedal, down)
        # Struck again, a note that the pedal held ends.
        again = np.flatnonzero(key[on[1:]] == key[on[:-1]])
        off[again] = np.minimum(off[again], tick[on[again + 1]])
    duration = off - tick[on]
    lasts = duration > 0
    on = on[lasts]
    found = np.stack([tick[on], key[on] & 127, duration[lasts], events.second[which[on]]])
    lanes, begins = np.unique(key[on] >> 7, return_index=True)
    return list(zip(lanes.tolist(), np.split(found, begins[1:], axis=1), strict=True)) if len(lanes) else []


def sustained(events: _Events, offs: Ints, pedal: Ints, down: NDArray[np.bool_]) -> Ints:
    """Ticks at which released notes fall silent, given the sustain pedal.

    Args:
        events: of the file.
        offs: which events are the note-offs.
        pedal: which events move the pedal, ascending.
        down: whether it is down from then on.
    """
    count = len(events.tick)
    music = np.flatnonzero(events.status < 0xF0)
    # A pedal that is never lifted is released at the last message of its channel and track.
    last = np.zeros(int(events.lane.max()) + 1, np.int64)
    np.maximum.at(last, events.lane[music], events.tick[music])
    # Sort by lane, then by order in the file.
    place = events.lane * count + np.arange(count)
    by_lane = np.argsort(place[pedal])
    moves, pressed = pedal[by_lane], down[by_lane]
    lifts = moves[~pressed]
    before = np.searchsorted(place[moves], place[offs]) - 1
    held = (before >= 0) & pressed[before] & (events.lane[moves[before]] == events.lane[offs])
    after = np.searchsorted(place[lifts], place[offs])
    lift = np.append(lifts, 0)[after]
    lifted = (after < len(lifts)) & (events.lane[lift] == events.lane[offs])
    silent: Ints = np.where(lifted, events.tick[lift], last[events.lane[offs]])
    return np.where(held, silent, events.tick[offs])


def tolerant(data: bytes, name: str) -> Score:
    """Reads a file as `rtgen render` does.

    Raises:
        UserError: the file cannot be read.
    """
    score = files.parse(data, name)
    tracks = []
    for track in score.tracks:
        for channel in sorted({e.data[0] & 0x0F for e in track.events}):
            notes = part(files.notes_of(e for e in track.events if e.data[0] & 0x0F == channel))
            if notes.size:
                tracks.append((track.name, channel == CHANNEL, notes))
    if not tracks:
        raise UserError(f"{name} has no notes of any length; choose a file with music in it")
    return Score(tuple(tracks), score.tempos, score.metres)


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
    if len(times) < 2 or not np.all(np.isfinite(times)) or not np.all(np.diff(times) > _SHORTEST_BEAT_S):
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
