"""Reader for Ableton Live sets (`.als`) of Live 8 to 12: XML, nearly always gzipped.

The XML is streamed through expat, so that even from sets of hundreds of megabytes only the notes are kept in memory.
Document types, and with them entities, are refused.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.music.time import PPQN, Metre
from train.prepare.sources.find import Source
from train.prepare.sources.piece import Part, Piece, Reading, distinct

MAX_XML = 1 << 30
"""Largest size of a set's XML in bytes."""
MAX_NOTES = 1_000_000
MAX_CLIPS = 100_000
MAX_TRACKS = 10_000
MAX_TAGS = 50_000_000
"""Tags of the XML; more would take minutes."""
MAX_DEPTH = 200
MAX_TOKEN = 4 << 20
"""Largest tag, comment or the like in bytes; expat buffers it until it is complete."""
_CHUNK = 1 << 16
_FAR = 1e6
"""Positions must be below this, in beats."""
_LONGEST_NAME = 200
"""Characters kept of the name of a track or clip."""
_DEFAULT_TEMPO = 120.0
_DEFAULTS = (("Time", 0.0), ("Duration", 0.25), ("Velocity", 100.0))
"""Defaults of a note's attributes."""
_SLOWEST, _FASTEST = 20.0, 999.0
"""Tempo range of Live in BPM."""
_TEMPOS = {
    "MasterTrack/MasterChain/Mixer/Tempo/ArrangerAutomation/Events/FloatEvent",  # Live 8
    "MasterTrack/DeviceChain/Mixer/Tempo/Manual",  # 9 to 11
    "MainTrack/DeviceChain/Mixer/Tempo/Manual",  # 12
}
_DRUMS = {"DrumGroupDevice", "InstrumentImpulse"}
"""Instruments whose pitches are drums: Drum Rack, also within another rack, and Impulse."""


@dataclass(slots=True)
class Clip:
    """A MIDI clip as stored in the set; times in beats.

    Args:
        track: name of its track.
        session: whether it is in the Session View rather than the Arrangement View.
        name: of the clip, often empty.
        values: loop and position: LoopStart, LoopEnd, StartRelative, OutMarker, CurrentStart, CurrentEnd.
        loops: whether looping is on.
        active: False if the clip is deactivated.
        muted: whether its track is.
        drums: whether its track has an instrument of drums.
        metre: numerator and denominator, if stored.
        events: time, duration, velocity, enabled (1 or 0) and pitch of each note in turn.
    """

    track: str
    session: bool
    name: str = ""
    values: dict[str, float] = field(default_factory=dict)
    loops: bool = True
    active: bool = True
    muted: bool = False
    drums: bool = False
    metre: dict[str, str] = field(default_factory=dict)
    events: array[float] = field(default_factory=lambda: array("d"))

    @property
    def notes(self) -> NDArray[np.float64]:
        """`events` with one row per note, shape (notes, 5)."""
        return np.frombuffer(self.events, np.float64).reshape(-1, 5)

    @property
    def brace(self) -> tuple[float, float]:
        """Start and end of the loop brace, in beats."""
        start = self.values.get("LoopStart", 0.0)
        return start, self.values.get("LoopEnd", start)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """What is heard of the clip, as (start, end) in beats, one after the other: up to one pass through its loop.

        Live plays from the start marker, wherever that is, to the end of the loop, and goes on at its start. A start
        marker before the loop gives a lead-in, and one within it divides the loop. From behind the loop Live plays to
        the end marker.
        """
        low, high = self.brace
        begin = low + self.values.get("StartRelative", 0.0)
        if self.loops and low < begin < high:
            return [(begin, high), (low, begin)]
        if self.loops and begin >= high > low:
            high = self.values.get("OutMarker", high)
        return [(begin, high)] if begin < high else []

    def inside(self) -> NDArray[np.bool_]:
        """Which notes are enabled and begin within the loop brace."""
        return self._begin_in([self.brace])

    def heard(self) -> NDArray[np.bool_]:
        """Which notes are enabled and begin within `spans`."""
        return self._begin_in(self.spans)

    def _begin_in(self, spans: list[tuple[float, float]]) -> NDArray[np.bool_]:
        notes = self.notes
        found = np.zeros(len(notes), np.bool_)
        for start, end in spans:
            found |= (notes[:, 0] >= start) & (notes[:, 0] < end)
        return found & (notes[:, 3] > 0)


@dataclass(slots=True)
class LiveSet:
    """What is read from a set.

    Args:
        tempo: BPM; None if missing.
        clips: MIDI clips on the tracks, without those in take lanes and in the groove pool.
        audio: names of the audio tracks.
        facts: what was left out, with counts.
    """

    tempo: float | None = None
    clips: list[Clip] = field(default_factory=list)
    audio: list[str] = field(default_factory=list)
    facts: Counter[str] = field(default_factory=Counter)


def read(source: Source) -> Reading:
    """Reads the MIDI clips of a set, each as a piece of its own; loops begin at the bar of a clip's first note.

    As of MIDI files, drums are left out unless there is nothing else.

    Raises:
        UserError: the set cannot be read.
    """
    live = parse(source)
    facts = live.facts
    facts.update(f"audio track {name!r} skipped" for name in live.audio)
    if live.tempo is None:
        facts["no tempo: 120 BPM assumed"] += 1
    pieces = []
    names = distinct(f"{c.track} / {c.name}" if c.name else c.track for c in live.clips)
    for name, clip in zip(names, live.clips, strict=True):
        if not clip.active:
            facts["deactivated clip left out"] += 1
            continue
        heard = clip.heard()
        facts["disabled note left out"] += int(np.sum(clip.notes[:, 3] == 0))
        facts["note outside its clip's loop left out"] += int(np.sum((clip.notes[:, 3] > 0) & ~heard))
        facts["note without length left out"] += int(np.sum(heard & (clip.notes[:, 1] == 0)))
        metre = _metre(clip.metre)
        if metre is None:
            facts["no metre: 4/4 assumed"] += 1
        piece = _piece(name, clip, (metre or Metre()).bar, live.tempo or _DEFAULT_TEMPO)
        if piece is None:
            facts["clip without notes"] += 1
            continue
        facts["clip of a muted track kept"] += clip.muted
        pieces.append(piece)
    melodic = [piece for piece in pieces if not piece.drums]
    if melodic:
        facts["clip of drums left out (its track has a Drum Rack or Impulse)"] += len(pieces) - len(melodic)
    return Reading(tuple(melodic or pieces), +facts)


def _piece(name: str, clip: Clip, bar: int, tempo: float) -> Piece | None:
    """Makes a piece of a clip; None if it has no notes.

    Its bars are counted from the start marker, or from the start of the loop if the marker is before it: so a pick-up
    remains one.
    """
    notes, end = one_pass(clip)
    if not notes.size:
        return None
    lead = max(round(-clip.values.get("StartRelative", 0.0) * PPQN), 0) if clip.loops else 0
    first = lead % bar + max(int(notes[0].min()) - lead % bar, 0) // bar * bar
    return Piece(((name, notes),), ((first, end - first),) if first < end else (), bar, tempo, clip.drums)


def _metre(told: dict[str, str]) -> Metre | None:
    try:
        return Metre(int(told["Numerator"]), int(told["Denominator"]))
    except (KeyError, ValueError):
        return None


def one_pass(clip: Clip) -> tuple[Part, int]:
    """Notes of a clip from where playback starts through its loop once, and the tick where that ends.

    An arrangement clip ends at its end on the timeline at the latest.
    """
    end, found = 0, [np.empty((4, 0), np.int64)]
    notes = clip.notes[(clip.notes[:, 3] > 0) & (clip.notes[:, 1] > 0)]
    velocity = np.clip(np.rint(notes[:, 2]), 1, 127).astype(np.int64)
    for start, stop in clip.spans:
        low, length = round(start * PPQN), round(stop * PPQN) - round(start * PPQN)
        inside = (notes[:, 0] >= start) & (notes[:, 0] < stop)
        on = np.minimum(np.rint(notes[:, 0] * PPQN).astype(np.int64) - low, length - 1)
        off = np.clip(np.rint((notes[:, 0] + notes[:, 1]) * PPQN).astype(np.int64) - low, on + 1, max(length, 0))
        part = np.stack([end + on, notes[:, 4].astype(np.int64), off - on, velocity])
        found.append(part[:, inside & (on >= 0)])
        end += max(length, 0)
    every = np.concatenate(found, axis=1)
    if not clip.session:
        place = clip.values.get("CurrentEnd", _FAR) - clip.values.get("CurrentStart", 0.0)
        end = min(end, round(place * PPQN))
    every = every[:, every[0] < end]
    every[2] = np.minimum(every[2], end - every[0])
    return every, end


def parse(source: Source) -> LiveSet:
    """Parses a set.

    Raises:
        UserError: the file is damaged, too large or malicious.
    """
    handler = _Handler(source.name)
    parser = expat.ParserCreate()
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.StartDoctypeDeclHandler = handler.doctype
    given = 0
    try:
        with source.open() as file:
            for data in _xml(file, source.name):
                given += len(data)
                if given > MAX_XML:
                    raise UserError(f"{source.name} unpacks to more than {MAX_XML >> 20} MB; leave it out")
                parser.Parse(data, False)
                if given - parser.CurrentByteIndex > MAX_TOKEN:
                    raise UserError(f"{source.name} is not a Live set: one tag exceeds {MAX_TOKEN >> 20} MB")
        if not given:
            raise UserError(f"{source.name} is empty; save the set again in Live")
        parser.Parse(b"", True)
    except FileNotFoundError:
        raise UserError(f"{source.name} does not exist; check the path") from None
    except (expat.ExpatError, LookupError, ValueError, OverflowError) as error:
        raise UserError(f"{source.name} is damaged ({error}); save the set again in Live") from error
    if not handler.is_live:
        raise UserError(f"{source.name} is XML but not a Live set; leave it out")
    return handler.found


def _xml(file: IO[bytes], name: str) -> Iterator[bytes]:
    """Yields the XML of a file in chunks, whether gzipped or plain."""
    data = file.read(_CHUNK)
    if data[:2] != b"\x1f\x8b":
        while data:
            yield data
            data = file.read(_CHUNK)
        return
    unpack = zlib.decompressobj(wbits=31)
    try:
        while data and not unpack.eof:
            # Data may unpack to a thousand times its size, so take at most one chunk at a time.
            yield unpack.decompress(data, _CHUNK)
            data = unpack.unconsumed_tail or file.read(_CHUNK)
    except zlib.error as error:
        raise UserError(f"{name} is damaged ({error}); save the set again in Live") from error
    if not unpack.eof:
        raise UserError(f"{name} is truncated; copy it again, or use one of Live's backups")


class _Handler:
    """Expat callbacks that collect the set; `path` holds the names of the open elements."""

    def __init__(self, name: str) -> None:
        self.name, self.found, self.is_live = name, LiveSet(), False
        self.path: list[str] = []
        self.tags = self.tracks = 0
        self.track = ""
        self.own = 0
        self.muted = self.drums = False
        self.told = False
        self.clip: Clip | None = None
        self.depth = 0
        self.waiting: list[tuple[float, float, float, float]] = []
        self.notes = 0

    def doctype(self, *_: object) -> None:
        raise UserError(f"{self.name} declares a document type, which no Live set does; it may be malicious, delete it")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        path = self.path
        path.append(tag)
        depth = len(path)
        self.tags += 1
        if self.tags > MAX_TAGS:
            raise UserError(f"{self.name} has more than {MAX_TAGS:,} tags; leave it out")
        if depth > MAX_DEPTH:
            raise UserError(f"{self.name} is not a Live set: tags are nested more than {MAX_DEPTH} deep; leave it out")
        if self.clip is not None:
            self._in_clip(self.clip, tag, attributes)
        elif tag == "MidiClip":
            self._clip()
        elif path[1:3] == ["LiveSet", "Tracks"]:
            self._track(tag, attributes)
        elif tag in ("Manual", "FloatEvent") and path[2] in ("MasterTrack", "MainTrack"):
            if self.found.tempo is None and "/".join(path[2:]) in _TEMPOS:
                tempo = float(attributes["Value"])
                self.found.tempo = tempo if _SLOWEST <= tempo <= _FASTEST else None
        elif depth == 2 and path == ["Ableton", "LiveSet"]:
            self.is_live = True

    def end(self, tag: str) -> None:
        self.path.pop()
        if self.clip is not None and len(self.path) < self.depth:
            self.found.clips.append(self.clip)
            self.clip = None
        elif len(self.path) == 3 and self.path[1:] == ["LiveSet", "Tracks"]:
            if tag == "AudioTrack":
                self.found.audio.append(self.track)
            # Its devices and its mixer may come after its clips.
            for clip in self.found.clips[self.own :]:
                clip.drums, clip.muted = self.drums, self.muted

    def _track(self, tag: str, attributes: dict[str, str]) -> None:
        """Starts a track, or takes its name or what else it tells; the user's name precedes the one that Live shows."""
        inner = self.path[4:]
        if not inner:
            self.tracks += 1
            if self.tracks > MAX_TRACKS:
                raise UserError(f"{self.name} has more than {MAX_TRACKS:,} tracks; leave it out")
            self.track = f"{'Audio' if tag == 'AudioTrack' else 'MIDI'} track"
            self.told = self.muted = self.drums = False
            self.own = len(self.found.clips)
        elif inner[0] == "Name" and tag in ("UserName", "EffectiveName") and attributes.get("Value"):
            if not self.told:
                self.track = attributes["Value"][:_LONGEST_NAME]
            self.told |= tag == "UserName"
        elif tag in _DRUMS:
            self.drums = True
        elif inner == ["DeviceChain", "Mixer", "Speaker", "Manual"]:
            self.muted = attributes.get("Value") == "false"

    def _clip(self) -> None:
        path = self.path
        if "GroovePool" in path:
            self.found.facts["clip in the groove pool left out"] += 1
        elif "TakeLanes" in path:
            self.found.facts["clip in a take lane left out"] += 1
        elif path[1:4] != ["LiveSet", "Tracks", "MidiTrack"] or "MainSequencer" not in path:
            pass  # a frozen copy, or a clip stored in a device
        elif "ClipSlotList" in path or path[-2] == "Events":
            if len(self.found.clips) >= MAX_CLIPS:
                raise UserError(f"{self.name} has more than {MAX_CLIPS:,} clips; leave it out")
            self.clip = Clip(self.track, "ClipSlotList" in path)
            self.depth = len(path)
            self.waiting.clear()

    def _in_clip(self, clip: Clip, tag: str, attributes: dict[str, str]) -> None:
        if tag == "MidiNoteEvent":
            self._note(attributes)
        elif tag == "KeyTrack":
            self.waiting.clear()
        elif tag == "MidiKey":
            self._key(clip, int(attributes["Value"]))
        elif len(self.path) == self.depth + 2 and self.path[-2] == "Loop":
            if tag == "LoopOn":
                clip.loops = attributes["Value"] == "true"
            elif tag in ("LoopStart", "LoopEnd", "StartRelative", "OutMarker"):
                clip.values[tag] = _beats(attributes)
        elif len(self.path) == self.depth + 1:
            if tag == "Name":
                clip.name = attributes.get("Value", "")[:_LONGEST_NAME]
            elif tag == "Disabled":
                clip.active = attributes.get("Value") != "true"
            elif tag in ("CurrentStart", "CurrentEnd"):
                clip.values[tag] = _beats(attributes)
        elif tag in ("Numerator", "Denominator"):
            clip.metre.setdefault(tag, attributes.get("Value", ""))

    def _note(self, attributes: dict[str, str]) -> None:
        self.notes += 1
        if self.notes > MAX_NOTES:
            raise UserError(f"{self.name} has more than {MAX_NOTES:,} notes; leave it out")
        # Live 12.2 omits attributes with default values.
        time, duration, velocity = (float(attributes.get(name, default)) for name, default in _DEFAULTS)
        if abs(time) < _FAR and 0 <= duration < _FAR and 0 <= velocity <= 127:
            self.waiting.append((time, duration, velocity, float(attributes.get("IsEnabled") != "false")))
        else:
            self.found.facts["invalid note left out"] += 1

    def _key(self, clip: Clip, pitch: int) -> None:
        """Adds the waiting notes with their pitch, which comes after them in the file."""
        if not 0 <= pitch <= 127:
            self.found.facts["invalid note left out"] += len(self.waiting)
            self.waiting.clear()
        for time, duration, velocity, enabled in self.waiting:
            clip.events.extend((time, duration, velocity, enabled, pitch))
        self.waiting.clear()


def _beats(attributes: dict[str, str]) -> float:
    value = float(attributes["Value"])
    if not abs(value) < _FAR:
        raise ValueError(f"a position of {value} beats")
    return value
