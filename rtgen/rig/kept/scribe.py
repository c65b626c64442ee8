"""Writes down the music of a session while it is played, so that its `.mid` takes no time at the end."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from math import inf, nextafter
from pathlib import Path
from typing import NamedTuple

from rtgen.instrument.clocks.transport import State
from rtgen.instrument.events import Planned, Received
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files, midi
from rtgen.music.time import PPQN, Metre, seconds_per_tick
from rtgen.rig.midi.schedule import Schedule
from rtgen.whole import written

_TEMPO_MOVES = 0.005
"""Smaller relative changes of tempo are measurement noise."""
_PAUSE_S = 60.0
"""Longest silence that is written between two steps of a song that stands still; a rig may wait for days."""
_SIZE = 3
"""Bytes that a message takes here, the shorter ones as well."""
_MOST_GESTURES = 300_000
"""After so many bends, pressures and controllers of a track only those are written that decide how long notes last: a
file may have a million events."""
_MOST_TICKS = 2**28 - 1
"""Longest time between two events of a Standard MIDI File."""


class Where(NamedTuple):
    """Where a session is after a step.

    Args:
        rolls: whether its transport rolls.
        tick: the song position, if it rolls.
        tempo: BPM.
        preset: the preset that plays.
    """

    rolls: bool
    tick: int
    tempo: float
    preset: Preset


def where(session: Session, now: float) -> Where:
    """Returns where a session is at `now`; cheap enough for the real-time loop."""
    transport = session.transport
    rolls = transport.state is State.ROLLING
    return Where(rolls, transport.tick_at(now) if rolls else 0, transport.tempo, session.preset)


class Scribe:
    """Writes input and output on one timeline of ticks that never goes back, wherever the song is moved.

    An hour of busy playing takes about a megabyte, and what shapes its notes at most seven.

    Args:
        preset: that the session starts with.
    """

    def __init__(self, preset: Preset) -> None:
        self._preset = preset
        self._position = self._offset = 0
        self._rolls = False
        self._then: float | None = None
        self._parsers: defaultdict[int, midi.Parser] = defaultdict(midi.Parser)
        self._played, self._sent = _Events(), _Events()
        self._schedule = Schedule()
        self._tempos: list[tuple[int, float]] = []
        self._metres = [(0, preset.metre)]
        self._markers: list[tuple[int, str]] = [(0, preset.name)]

    def write(
        self,
        now: float,
        at: Where,
        event: object,
        sent: tuple[bytes, ...],
        *,
        takes_back: bool = False,
        hurried: bool = False,
    ) -> None:
        """Adds the input and output of a step.

        Args:
            now: seconds.
            at: where the session is after it.
            event: what happened.
            sent: the messages sent.
            takes_back: whether what was planned before does not begin any more.
            hurried: whether there is no time for bends, pressures and controllers that only shape notes.
        """
        played = self._parsers[event.port].feed(event.data) if isinstance(event, Received) else []
        played, music = [each for each in played if _is_music(each)], [each for each in sent if _is_music(each)]
        if hurried and not takes_back and (played or music) and not any(map(_decides, played + music)):
            return
        self._move(now, at)
        self._send(now, at.tempo)
        if takes_back:
            self._schedule.take_back(now)
        if at.preset is not self._preset:
            self._preset = at.preset
            self._markers.append((self._position, at.preset.name))
        for message in played:
            self._played.add(self._position, message)
        if len(music) == 1 and midi.shape(music[0]) and not isinstance(music[0], Planned):
            # Nothing waits that it could overtake.
            self._sent.add(self._position, music[0])
            return
        for message in music:
            self._schedule.add(message.at if isinstance(message, Planned) else now, message)
        self._send(now, at.tempo)

    def _send(self, now: float, tempo: float) -> None:
        """Adds the output up to `now`."""
        if (soonest := self._schedule.soonest) is None or soonest > now:
            return
        for at, message in self._schedule.take(nextafter(now, inf)):
            since = now - at
            self._sent.add(self._position - round(min(since, _PAUSE_S) / seconds_per_tick(tempo)), message)

    def _move(self, now: float, at: Where) -> None:
        metre, bar = at.preset.metre, at.preset.metre.bar
        passed = 0.0 if self._then is None else min(now - self._then, _PAUSE_S)
        if at.rolls:
            tick = max(at.tick, 0)
            if not self._rolls or abs(tick + self._offset - self._position) > 4 * bar:
                # The song started or moved: go on after everything so far, at the same place in the bar.
                since, before = self._metres[-1]
                begins = since - (since - self._position) // before.bar * before.bar
                self._offset = begins - tick // bar * bar
            if metre != self._metres[-1][1]:
                self._change(tick // bar * bar + self._offset, metre)
            self._position = max(self._position, tick + self._offset)
            if self._is_news(at.tempo):
                self._tempos.append((self._position, at.tempo))
        elif passed > 0:
            self._position += round(passed / seconds_per_tick(at.tempo))
        # A page's notes come with times that have passed.
        self._rolls, self._then = at.rolls, max(now, self._then or now)

    def _change(self, tick: int, metre: Metre) -> None:
        """Adds a metre, whose bars may begin within one of the last."""
        if tick <= self._metres[-1][0]:
            tick = self._metres.pop()[0]
        self._metres.append((tick, metre))

    def _is_news(self, tempo: float) -> bool:
        if not self._tempos:
            return True
        then, before = self._tempos[-1]
        return abs(tempo / before - 1) > _TEMPO_MOVES and self._position >= then + PPQN

    def score(self) -> files.Score:
        """Returns everything written so far."""
        tracks = tuple(
            files.Track(name, tuple(files.Event(*each) for each in events))
            for name, events in (("played", self._played), ("answered", self._sent))
        )
        return files.Score(tracks, self._all_tempos(), tuple(self._metres), tuple(self._markers), self._position)

    def save(self, path: Path) -> None:
        """Writes everything so far as a `.mid` file: as `files.write` does, and a hundred times faster.

        Raises:
            UserError: the folder cannot be written.
        """
        conductor = []
        for tick, metre in self._metres:
            beats = bytes((0xFF, 0x58, 4, metre.beats, metre.unit.bit_length() - 1, 24, 8))
            conductor.append((tick, beats))
        for tick, bpm in self._all_tempos():
            conductor.append((tick, b"\xff\x51\x03" + min(round(60e6 / bpm), 2**24 - 1).to_bytes(3, "big")))
        conductor += [(tick, _text(6, text)) for tick, text in self._markers]
        tracks = [_track(sorted(conductor, key=lambda each: each[0]), self._position)]
        for name, events in (("played", self._played), ("answered", self._sent)):
            tracks.append(_track([(0, _text(3, name)), *events], self._position))
        head = b"MThd" + b"".join(n.to_bytes(size, "big") for n, size in ((6, 4), (1, 2), (len(tracks), 2), (PPQN, 2)))
        with written(path) as partial:
            partial.write_bytes(head + b"".join(tracks))

    def _all_tempos(self) -> tuple[tuple[int, float], ...]:
        return ((0, self._tempos[0][1]) if self._tempos else (0, 120.0), *self._tempos[1:])


class _Events:
    """Notes, and what shapes them, with their ticks."""

    def __init__(self) -> None:
        self._ticks = array("Q")
        self._data = bytearray()
        self._gestures = 0

    def add(self, tick: int, message: bytes) -> None:
        if not _decides(message):
            self._gestures += 1
            if self._gestures > _MOST_GESTURES:
                return
        self._ticks.append(max(tick, self._ticks[-1] if self._ticks else 0))
        self._data += message.ljust(_SIZE, b"\x00")

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        data = bytes(self._data)
        for number, tick in enumerate(self._ticks):
            size = 2 if data[number * _SIZE] & 0xF0 == 0xD0 else _SIZE
            yield tick, data[number * _SIZE : number * _SIZE + size]


def _is_music(message: bytes) -> bool:
    """Returns whether a message is a note, shapes notes or decides how long they last.

    One from a log may be none, or incomplete.
    """
    if not message or len(message) != (2 if message[0] & 0xF0 == 0xD0 else _SIZE) or max(message[1:]) > 0x7F:
        return False
    return _decides(message) or bool(midi.shape(message))


def _decides(message: bytes) -> bool:
    """Returns whether a message is a note, or decides how long notes last: pedals and channel mode messages."""
    if message[0] & 0xF0 == 0xB0:
        return message[1] in midi.HOLDS or message[1] >= midi.ALL_SOUND_OFF
    return midi.is_note(message)


# ---- Standard MIDI Files 1.0 ----------------------------------------------------------------------------------------


def _track(events: list[tuple[int, bytes]], end: int) -> bytes:
    """Returns a track chunk with events, and its end at a tick or after the last of them."""
    body = bytearray()
    before = 0
    for tick, message in (*events, (max(end, events[-1][0]), b"\xff\x2f\x00")):
        delta, before = tick - before, tick
        if delta < 0x80:
            body.append(delta)
        else:
            while delta > _MOST_TICKS:
                body += _length(_MOST_TICKS) + _text(1, "")
                delta -= _MOST_TICKS
            body += _length(delta)
        body += message
    return b"MTrk" + len(body).to_bytes(4, "big") + bytes(body)


def _text(kind: int, text: str) -> bytes:
    data = text.encode()
    return bytes((0xFF, kind)) + _length(len(data)) + data


def _length(number: int) -> bytes:
    """Returns a variable-length quantity."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))
