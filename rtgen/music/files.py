"""Reads Standard MIDI Files tolerantly and writes them plainly, using mido.

Positions are converted to 480 ticks per beat, and tempos to BPM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import mido

from rtgen.errors import UserError
from rtgen.music.midi import cuts, releases, sustains
from rtgen.music.note import Note
from rtgen.music.time import PPQN, Metre
from rtgen.whole import written

MAX_BYTES = 32 * 2**20
"""Larger files are rejected: no performance needs that much."""
_DEFAULT_TEMPO = 120.0


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """A channel message at a tick."""

    tick: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Track:
    """A named track of channel messages in time order."""

    name: str
    events: tuple[Event, ...]

    def notes(self) -> list[Note]:
        """Return the notes as heard: the sustain pedal extends them until it is released."""
        return notes_of(self.events)


@dataclass(frozen=True, slots=True)
class Score:
    """The contents of a Standard MIDI File.

    Args:
        tracks: those with channel messages.
        tempos: (tick, BPM), the first at tick 0.
        metres: (tick, metre), the first at tick 0.
        markers: (tick, text).
        length: minimum length of every track in ticks, even without events up to there.
    """

    tracks: tuple[Track, ...]
    tempos: tuple[tuple[int, float], ...] = ((0, _DEFAULT_TEMPO),)
    metres: tuple[tuple[int, Metre], ...] = ((0, Metre()),)
    markers: tuple[tuple[int, str], ...] = field(default=())
    length: int = 0

    @property
    def end(self) -> int:
        """Tick of the last event."""
        return max((t.events[-1].tick for t in self.tracks if t.events), default=0)

    def merged(self) -> list[Event]:
        """Return the events of all tracks in time order, note-offs before note-ons at equal ticks."""
        return sorted((e for t in self.tracks for e in t.events), key=lambda e: (e.tick, _is_note_on(e.data)))


def _is_note_on(data: bytes) -> bool:
    return data[0] & 0xF0 == 0x90 and data[2] > 0


def notes_of(events: Iterable[Event]) -> list[Note]:
    """Pair note-ons with note-offs per channel; the sustain pedal (CC 64) delays note-offs.

    Channel mode messages count: CC 121 releases the pedal, 120 ends all notes, and 123 to 127 release all keys. A
    repeated pitch ends the note before. Notes still held at the end last until the last event.
    """
    notes: list[Note] = []
    held: dict[tuple[int, int], tuple[int, int]] = {}
    sustained: dict[tuple[int, int], tuple[int, int]] = {}
    pedals: set[int] = set()

    def end(key: tuple[int, int], started: tuple[int, int] | None, tick: int) -> None:
        if started is not None and tick > started[0]:
            notes.append(Note(started[0], key[1], tick - started[0], started[1]))

    tick = 0
    for event in events:
        tick, data = event.tick, event.data
        kind, channel = data[0] & 0xF0, data[0] & 0x0F
        if kind in (0x80, 0x90):
            key = (channel, data[1])
            if _is_note_on(data):
                end(key, sustained.pop(key, None), tick)
                end(key, held.pop(key, None), tick)
                held[key] = (tick, data[2])
            elif key in held:
                if channel in pedals:
                    sustained[key] = held.pop(key)
                else:
                    end(key, held.pop(key), tick)
        elif kind == 0xB0:
            if (down := sustains(data)) is not None:
                (pedals.add if down else pedals.discard)(channel)
            elif cuts(data) or releases(data):
                sustained |= {key: held.pop(key) for key in list(held) if key[0] == channel}
            if cuts(data) or channel not in pedals:
                for key in [k for k in sustained if k[0] == channel]:
                    end(key, sustained.pop(key), tick)
    for key, started in (*held.items(), *sustained.items()):
        end(key, started, tick)
    return sorted(notes)


def _load(source: Path | BinaryIO, name: str) -> mido.MidiFile:
    try:
        if isinstance(source, Path):
            if source.stat().st_size > MAX_BYTES:
                raise UserError(f"{name} is larger than {MAX_BYTES >> 20} MB, too large for a performance; use another")
            with source.open("rb") as file:
                return mido.MidiFile(file=file, clip=True)
        return mido.MidiFile(file=source, clip=True)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{name} does not exist; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{name} is a folder; choose a .mid file in it") from None
    except PermissionError:
        raise UserError(f"{name} cannot be read; check its permissions") from None
    except Exception as error:
        # mido leaks any exception: EOFError, OSError, IndexError, KeySignatureError, ValueError ...
        reason = str(error) or "unexpected end of file"
        raise UserError(f"{name} is not a readable MIDI file ({reason}); export it again") from error


def _text(latin: str) -> str:
    """Decode text, for which the file names no encoding: as UTF-8 if valid, else as mido decoded it (Latin-1)."""
    try:
        return latin.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return latin


def read(source: Path | BinaryIO, name: str = "") -> Score:
    """Read a `.mid` file of type 0 or 1.

    Args:
        source: a path or an open binary file.
        name: for error messages; the path by default.

    Raises:
        UserError: the file is missing, damaged, of type 2, has a time division other than ticks per beat, or has no
            notes.
    """
    name = name or str(source)
    midi = _load(source, name)
    if midi.type == 2:
        raise UserError(f"{name} is of type 2 (independent patterns without a common timeline); save it as type 1")
    if midi.ticks_per_beat <= 0:
        raise UserError(f"{name} has a time division of {midi.ticks_per_beat}, not ticks per beat; export it again")
    scale = PPQN / midi.ticks_per_beat
    tracks: list[Track] = []
    tempos: dict[int, float] = {0: _DEFAULT_TEMPO}
    metres: dict[int, Metre] = {0: Metre()}
    markers: list[tuple[int, str]] = []
    for number, track in enumerate(midi.tracks):
        events: list[Event] = []
        position = 0
        for message in track:
            position += message.time
            tick = round(position * scale)
            if message.type == "set_tempo" and message.tempo > 0:
                # Recover a round tempo from whole microseconds per beat.
                tempos[tick] = round(60e6 / message.tempo, 3)
            elif message.type == "time_signature" and message.denominator <= 16 and 1 <= message.numerator <= 32:
                metres[tick] = Metre(message.numerator, message.denominator)
            elif message.type == "marker":
                markers.append((tick, _text(message.text)))
            elif not message.is_meta and message.type != "sysex":
                data = bytes(message.bytes())
                if data[0] < 0xF0:
                    events.append(Event(tick, data))
        if events:
            tracks.append(Track(_text(track.name) or f"Track {number}", tuple(events)))
    if not any(_is_note_on(e.data) for t in tracks for e in t.events):
        raise UserError(f"{name} contains no notes; choose a file with music in it")
    return Score(tuple(tracks), tuple(sorted(tempos.items())), tuple(sorted(metres.items())), tuple(markers))


def write(path: Path, score: Score) -> None:
    """Write a `.mid` file of type 1, with a conductor track first; the file is replaced atomically.

    Raises:
        UserError: the folder cannot be written.
    """
    midi = mido.MidiFile(type=1, ticks_per_beat=PPQN, charset="utf-8")
    conductor: list[tuple[int, mido.MetaMessage]] = [
        *((t, mido.MetaMessage("time_signature", numerator=m.beats, denominator=m.unit)) for t, m in score.metres),
        *((t, mido.MetaMessage("set_tempo", tempo=round(60e6 / bpm))) for t, bpm in score.tempos),
        *((t, mido.MetaMessage("marker", text=text)) for t, text in score.markers),
    ]
    midi.tracks.append(_delta_track(sorted(conductor, key=lambda c: c[0]), score.length))
    for track in score.tracks:
        messages = [(e.tick, mido.Message.from_bytes(e.data)) for e in track.events]
        midi.tracks.append(
            _delta_track([(0, mido.MetaMessage("track_name", name=track.name)), *messages], score.length)
        )
    with written(path) as partial:
        midi.save(str(partial))


def _delta_track(timed: Sequence[tuple[int, mido.Message | mido.MetaMessage]], length: int) -> mido.MidiTrack:
    track = mido.MidiTrack()
    now = 0
    for tick, message in timed:
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(length - now, 0)))
    return track


def note_events(notes: Iterable[Note], *, start: int = 0, channel: int = 0) -> list[Event]:
    """Return note-ons and note-offs for `notes`, shifted by `start` ticks; note-offs come first at equal ticks."""
    events = []
    for note in notes:
        onset = max(start + note.onset, 0)
        events.append(Event(onset, bytes((0x90 | channel, note.pitch, note.velocity))))
        events.append(Event(onset + note.duration, bytes((0x80 | channel, note.pitch, 0))))
    return sorted(events, key=lambda e: (e.tick, _is_note_on(e.data)))
