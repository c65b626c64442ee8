"""Reads Standard MIDI Files tolerantly, and writes them plainly with mido.

Positions are converted to 480 ticks per beat, and tempos to BPM. Section numbers in comments are those of the Standard
MIDI Files 1.0 specification (RP-001).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from rtgen.errors import UserError
from rtgen.music.hand import on_channel
from rtgen.music.midi import cuts, releases, sustains
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, Metre
from rtgen.whole import written

if TYPE_CHECKING:
    import mido

MAX_BYTES = 32 * 2**20
"""Larger files are rejected: no performance needs that much."""
MAX_BEATS = 50_000
"""Longer files are rejected: nearly seven hours at 120 BPM."""
MAX_EVENTS = 1_000_000
"""Files with more events are rejected: what they would take in memory and time is beyond any performance."""
MAX_TEMPO = 0xFFFFFF
"""Longest beat that a file can state, in microseconds: 3.6 BPM."""
_DEFAULT_TEMPO = 120.0
_TRACK_NAME, _MARKER, _END_OF_TRACK, _SET_TEMPO, _TIME_SIGNATURE = 0x03, 0x06, 0x2F, 0x51, 0x58
_SIZES = {0xC: 1, 0xD: 1}
"""Data bytes of channel messages by the upper half of their status, where they are not two."""
_SYSTEM_SIZES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
"""Data bytes of system messages, which have no place in a file, but are in some."""


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
        """Return the events of all tracks in time order, as `settled` puts them within a track."""
        return sorted((e for t in self.tracks for e in settled(t.events)), key=_note_ons_last)


def _is_note_on(data: bytes) -> bool:
    return data[0] & 0xF0 == 0x90 and data[2] > 0


def _note_ons_last(event: Event) -> tuple[int, bool]:
    return event.tick, _is_note_on(event.data)


def settled(events: Iterable[Event]) -> list[Event]:
    """Return the events of a track, ordered so that at equal ticks note-offs come before note-ons.

    A note-off on the tick of its own note-on would then come before it, and the note would last until the next note-off
    of its pitch. It is moved to the next tick: the shortest note. Which note-on is its own is told by the order in the
    file: if an older note of that pitch sounds until this tick, the note-off ends that one.
    """
    found: list[Event] = []
    began: dict[tuple[int, int], int] = {}
    struck_again: set[tuple[int, int]] = set()
    for event in events:
        data = event.data
        if data[0] & 0xE0 == 0x80:
            key = (data[0] & 0x0F, data[1])
            if _is_note_on(data):
                (struck_again.add if began.get(key, event.tick) < event.tick else struck_again.discard)(key)
                began[key] = event.tick
            elif began.get(key) != event.tick:
                began.pop(key, None)
            elif key in struck_again:
                struck_again.discard(key)
            else:
                del began[key]
                event = Event(event.tick + 1, data)
        found.append(event)
    return sorted(found, key=_note_ons_last)


def notes_of(events: Iterable[Event]) -> list[Note]:
    """Pair note-ons with note-offs per channel; the sustain pedal (CC 64) delays note-offs.

    Channel mode messages count: CC 121 releases the pedal, 120 ends all notes, and 123 to 127 release all keys. A
    repeated pitch ends the note before. Notes still held at the end last until the last event. A note-off on the
    tick of its note-on makes a note of one tick.
    """
    notes: list[Note] = []
    held: dict[tuple[int, int], tuple[int, int]] = {}
    sustained: dict[tuple[int, int], tuple[int, int]] = {}
    pedals: set[int] = set()

    def end(key: tuple[int, int], started: tuple[int, int] | None, tick: int) -> None:
        if started is not None and tick > started[0]:
            notes.append(Note(started[0], key[1], tick - started[0], started[1]))

    tick = 0
    for event in settled(events):
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


def _contents(source: Path | BinaryIO, name: str) -> bytes:
    try:
        if isinstance(source, Path):
            if source.is_dir():
                raise UserError(f"{name} is a folder; choose a .mid file in it")
            if not S_ISREG(source.stat().st_mode):
                # Reading from a pipe or a device might never end.
                raise UserError(f"{name} is not a regular file; copy its contents to one")
            with source.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        else:
            data = source.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{name} does not exist; check the path") from None
    except PermissionError:
        raise UserError(f"{name} cannot be read; check its permissions") from None
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror or error}); copy it again") from error
    if len(data) > MAX_BYTES:
        raise UserError(f"{name} is larger than {MAX_BYTES >> 20} MB, too large for a performance; use another")
    return data


def _text(data: bytes) -> str:
    """Decode text, for which the file names no encoding: as UTF-8 if valid, else as Latin-1."""
    try:
        return data.decode("utf-8")
    except UnicodeError:
        return data.decode("latin-1")


def _bpm(beat_us: int) -> float:
    """Return the tempo whose beat is `beat_us` microseconds long: a round one if there is one.

    `write` turns it into the same number of microseconds.
    """
    rounded = round(60e6 / beat_us, 3)
    return rounded if _beat_us(rounded) == beat_us else 60e6 / beat_us


def _beat_us(bpm: float) -> int:
    """Return the length of a beat in microseconds, within what a file can state."""
    return round(min(max(60e6 / bpm, 1), MAX_TEMPO)) if bpm > 0 else MAX_TEMPO


@dataclass(slots=True)
class Told:
    """What the meta events of a file tell.

    Args:
        tempos: BPM by tick.
        metres: by tick.
        markers: (tick, text).
        name: of the track that is read, empty until told.
    """

    tempos: dict[int, float] = field(default_factory=lambda: {0: _DEFAULT_TEMPO})
    metres: dict[int, Metre] = field(default_factory=lambda: {0: Metre()})
    markers: list[tuple[int, str]] = field(default_factory=list)
    name: str = ""

    def meta(self, tick: int, kind: int, body: bytes) -> None:
        """Take a meta event; ignore what is invalid and what does not matter here, such as key signatures."""
        if kind == _SET_TEMPO and (beat_us := int.from_bytes(body[:3])) and len(body) >= 3:
            self.tempos[tick] = _bpm(beat_us)
        elif kind == _TIME_SIGNATURE and len(body) >= 2 and 1 <= body[0] <= 32 and body[1] <= 4:
            self.metres[tick] = Metre(body[0], 1 << body[1])
        elif kind == _MARKER:
            self.markers.append((tick, _text(body)))
        elif kind == _TRACK_NAME:
            self.name = self.name or _text(body)


def chunks(data: bytes, name: str) -> tuple[int, list[tuple[int, int]]]:
    """Find the tracks of a `.mid` file of type 0 or 1, also of one in a RIFF container (RMID).

    Chunks of other kinds are passed over, as section 2 asks.

    Args:
        data: contents of the file.
        name: for error messages.

    Returns:
        Its ticks per beat, and from where to where in `data` the events of each track are.

    Raises:
        UserError: the file is damaged, of type 2, or has a time division other than ticks per beat.
    """
    at, end = _unwrapped(data)
    size = int.from_bytes(data[at + 4 : at + 8])
    if data[at : at + 4] != b"MThd" or size < 6 or at + 14 > end:
        raise _unreadable(name, "it does not begin with an MThd chunk")
    kind, count = int.from_bytes(data[at + 8 : at + 10]), int.from_bytes(data[at + 10 : at + 12])
    division = int.from_bytes(data[at + 12 : at + 14], signed=True)
    if kind == 2:
        raise UserError(f"{name} is of type 2 (independent patterns without a common timeline); save it as type 1")
    if division <= 0:
        raise UserError(f"{name} has a time division of {division}, not ticks per beat; export it again")
    at += 8 + size
    found = []
    while at + 8 <= end:
        start = at + 8
        at = start + int.from_bytes(data[at + 4 : start])
        if data[start - 8 : start - 4] == b"MTrk":
            if at > end:
                raise _unreadable(name, "it ends within a track")
            found.append((start, at))
    if len(found) > 0xFFFF:
        raise _unreadable(name, "it has more tracks than its header can count")
    if len(found) < count:
        raise _unreadable(name, f"it has {len(found)} of its {count} tracks")
    return division, found


def _unwrapped(data: bytes) -> tuple[int, int]:
    """Return from where to where in `data` the MIDI file is: all of it, or the data chunk of a RIFF container."""
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        at = 12
        while at + 8 <= len(data):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            if data[at : at + 4] == b"data":
                return at + 8, min(at + 8 + size, len(data))
            at += 8 + size + size % 2
    return 0, len(data)


def _unreadable(name: str, reason: str) -> UserError:
    return UserError(f"{name} is not a readable MIDI file ({reason}); export it again")


def _events(track: bytes, name: str, room: int) -> tuple[list[tuple[int, bytes]], list[tuple[int, int, bytes]], int]:
    """Cut a track into events.

    Running status goes on after meta events and exclusive messages, which section 3 forbids and programs do. Exclusive
    messages, their further packets and escapes (section 3, <sysex event>) are passed over by their length alone.

    Args:
        track: contents of its chunk.
        name: of the file, for error messages.
        room: how many events there may be.

    Returns:
        Channel messages as (position, message), meta events as (position, kind, contents), and how many events there
        are in all.

    Raises:
        UserError: the track is damaged, or has too many events.
    """
    messages: list[tuple[int, bytes]] = []
    metas: list[tuple[int, int, bytes]] = []
    at = position = status = count = 0
    try:
        while at < len(track):
            count += 1
            if count > room:
                raise UserError(f"{name} has more than {MAX_EVENTS:,} events; cut it to the part that you need")
            delta, at = _number(track, at)
            position += delta
            byte = track[at]
            if byte in (0xF0, 0xF7, 0xFF):
                length, start = _number(track, at + 1 + (byte == 0xFF))
                body = track[start : start + length]
                if len(body) < length:
                    raise IndexError
                if byte == 0xFF:
                    metas.append((position, track[at + 1], body))
                    if track[at + 1] == _END_OF_TRACK:
                        break
                at = start + length
            elif byte > 0xF0:
                if byte not in _SYSTEM_SIZES:
                    raise _unreadable(name, f"undefined status {byte:02X}")
                at += 1 + _SYSTEM_SIZES[byte]
            else:
                if byte >= 0x80:
                    status = byte
                    at += 1
                elif not status:
                    raise _unreadable(name, "a track begins with running status")
                size = _SIZES.get(status >> 4, 2)
                first, second = track[at], track[at + size - 1]
                if first > 0x7F or second > 0x7F:
                    first, second = min(first, 0x7F), min(second, 0x7F)
                messages.append((position, bytes((status, first, second) if size == 2 else (status, first))))
                at += size
    except IndexError:
        raise _unreadable(name, "a track ends within an event") from None
    except OverflowError as error:
        raise _unreadable(name, str(error)) from None
    return messages, metas, count


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length quantity at a position (section 1: four bytes at most), and the position after it."""
    number = 0
    for after in range(at + 1, at + 5):
        byte = data[after - 1]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, after
    raise OverflowError("a number has more than four bytes")


def read(source: Path | BinaryIO, name: str = "") -> Score:
    """Read a `.mid` file of type 0 or 1.

    Args:
        source: a path or an open binary file.
        name: for error messages; the path by default.

    Raises:
        UserError: the file is missing, damaged, too large, too long, of type 2, has a time division other than ticks
            per beat, or has no notes.
    """
    name = name or str(source)
    return parse(_contents(source, name), name)


def parse(data: bytes, name: str) -> Score:
    """Read the contents of a `.mid` file, as `read` does."""
    division, spans = chunks(data, name)
    scale = PPQN / division
    tracks: list[Track] = []
    told, total = Told(), 0
    for number, (start, end) in enumerate(spans):
        messages, metas, count = _events(data[start:end], name, MAX_EVENTS - total)
        total += count
        told.name = ""
        for position, kind, body in metas:
            told.meta(round(position * scale), kind, body)
        if messages:
            events = tuple(Event(round(position * scale), message) for position, message in messages)
            if events[-1].tick > MAX_BEATS * PPQN:
                beats = f"{events[-1].tick // PPQN:,} beats long, and {MAX_BEATS:,} are the most"
                raise UserError(f"{name} is {beats}; cut it to the part that you need")
            tracks.append(Track(told.name or f"Track {number}", events))
    if not any(_is_note_on(e.data) for t in tracks for e in t.events):
        raise UserError(f"{name} contains no notes; choose a file with music in it")
    return Score(
        tuple(tracks), tuple(sorted(told.tempos.items())), tuple(sorted(told.metres.items())), tuple(told.markers)
    )


def write(path: Path, score: Score) -> None:
    """Write a `.mid` file of type 1, with a conductor track first; the file is replaced atomically.

    Raises:
        UserError: the folder cannot be written.
    """
    import mido  # it takes as long as much of rtgen's own

    midi = mido.MidiFile(type=1, ticks_per_beat=PPQN, charset="utf-8")
    conductor: list[tuple[int, mido.MetaMessage]] = [
        *((t, mido.MetaMessage("time_signature", numerator=m.beats, denominator=m.unit)) for t, m in score.metres),
        *((t, mido.MetaMessage("set_tempo", tempo=_beat_us(bpm))) for t, bpm in score.tempos),
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
    import mido

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


def loop_events(loop: Loop, channel: int) -> list[Event]:
    """Return the events that play a loop: its notes, or message for message what its hand played.

    Args:
        loop: the loop; what is before its start is put there.
        channel: 0-15, for what has no channel of its own.
    """
    if not loop.hand:
        return note_events(loop.notes, channel=channel)
    messages = ((max(tick, 0), data) for tick, data in loop.hand.messages)
    return [Event(tick, data if loop.hand.apart else on_channel(data, channel)) for tick, data in messages]
