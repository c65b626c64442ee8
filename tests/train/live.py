"""Small Live sets of our own, as the versions of Live write them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

CREATORS = {
    "8": "Ableton Live 8.1.4",
    "9": "Ableton Live 9.7.7",
    "10": "Ableton Live 10.1.25",
    "11": "Ableton Live 11.2.5",
    "12": "Ableton Live 12.3.5",
}

Written = tuple[float, int, float, float]
"""Time, pitch, duration (beats), velocity."""


@dataclass(frozen=True)
class Clip:
    """A MIDI clip to write; times in beats."""

    notes: tuple[Written, ...]
    end: float = 8.0
    start: float = 0.0
    offset: float = 0.0
    loops: bool = True
    name: str = ""
    metre: tuple[int, int] = (4, 4)
    disabled: tuple[int, ...] = ()
    """Indices of the notes that are switched off."""
    place: tuple[float, float] | None = None
    """From where to where on the timeline, for a clip in the arrangement."""
    out: float | None = None
    """The end marker, if it is not the end of the loop."""
    active: bool = True


def _value(tag: str, value: object) -> str:
    return f'<{tag} Value="{value}" />'


def _note(version: str, number: int, note: Written, enabled: bool) -> str:
    time, _, duration, velocity = note
    parts = [f'Time="{time}" Duration="{duration}"']
    if version != "12" or velocity != 100:
        parts.append(f'Velocity="{velocity}"')
    if version in ("10", "11", "12"):
        parts.append(f'NoteId="{number + 1}"')
    if version == "11":
        parts.append('VelocityDeviation="0" Probability="1"')
    parts.append('OffVelocity="64"')
    if version != "12" or not enabled:
        parts.append(f'IsEnabled="{str(enabled).lower()}"')
    return f"<MidiNoteEvent {' '.join(parts)} />"


def clip(version: str, c: Clip) -> str:
    """A clip's XML."""
    keys = []
    for pitch in sorted({n[1] for n in c.notes}):
        own = [(i, n) for i, n in enumerate(c.notes) if n[1] == pitch]
        events = "".join(_note(version, i, n, i not in c.disabled) for i, n in own)
        keys.append(f"<KeyTrack><Notes>{events}</Notes>{_value('MidiKey', pitch)}</KeyTrack>")
    loop = "".join(
        _value(tag, value)
        for tag, value in (
            ("LoopStart", c.start),
            ("LoopEnd", c.end),
            ("StartRelative", c.offset),
            ("LoopOn", str(c.loops).lower()),
            ("OutMarker", c.end if c.out is None else c.out),
            ("HiddenLoopStart", 0),
            ("HiddenLoopEnd", 4),
        )
    )
    place = c.place or (0.0, c.end - c.start)
    metre = _value("Numerator", c.metre[0]) + _value("Denominator", c.metre[1]) + _value("Time", 0)
    return (
        f'<MidiClip Time="{place[0]}">{_value("CurrentStart", place[0])}{_value("CurrentEnd", place[1])}'
        f"<Loop>{loop}</Loop><Name Value={quoteattr(c.name)} />{_value('Disabled', str(not c.active).lower())}"
        f"<TimeSignature><TimeSignatures>"
        f"<RemoteableTimeSignature>{metre}</RemoteableTimeSignature></TimeSignatures></TimeSignature>"
        f"<Grid>{_value('FixedNumerator', 1)}{_value('FixedDenominator', 16)}</Grid>"
        f'<ScaleInformation><Name Value="Major" /></ScaleInformation>'
        f"<Notes><KeyTracks>{''.join(keys)}</KeyTracks></Notes></MidiClip>"
    )


def rack(*devices: str) -> str:
    """An Instrument Rack around other devices."""
    inner = "".join(f"<{device} Id='0'></{device}>" for device in devices)
    chain = f"<DeviceChain><MidiToAudioDeviceChain><Devices>{inner}</Devices></MidiToAudioDeviceChain></DeviceChain>"
    branch = f"<Branches><InstrumentBranch>{chain}</InstrumentBranch></Branches>"
    return f"<InstrumentGroupDevice>{branch}</InstrumentGroupDevice>"


def _track(
    version: str,
    kind: str,
    name: str,
    clips: tuple[Clip, ...],
    takes: tuple[Clip, ...],
    devices: str = "",
    *,
    muted: bool = False,
) -> str:
    shown = "" if version == "8" else _value("EffectiveName", f"1-{name}")
    slots = "".join(
        f"<ClipSlot><ClipSlot><Value>{clip(version, c)}</Value></ClipSlot></ClipSlot>" for c in clips if not c.place
    )
    events = "".join(clip(version, c) for c in clips if c.place)
    lanes = "".join(
        f"<TakeLane><ClipAutomation><Events>{clip(version, c)}</Events></ClipAutomation></TakeLane>" for c in takes
    )
    lanes = f"<TakeLanes><TakeLanes>{lanes}</TakeLanes></TakeLanes>" if takes else ""
    return (
        f'<{kind}Track Id="1"><Name>{shown}<UserName Value={quoteattr(name)} /></Name>{lanes}<DeviceChain>'
        f"<Mixer><Speaker>{_value('Manual', str(not muted).lower())}</Speaker></Mixer>"
        f"<MainSequencer><ClipSlotList>{slots}</ClipSlotList><ClipTimeable>"
        f"<ArrangerAutomation><Events>{events}</Events></ArrangerAutomation></ClipTimeable></MainSequencer>"
        f"<DeviceChain><Devices>{devices}</Devices></DeviceChain></DeviceChain></{kind}Track>"
    )


def _tempo(version: str, tempo: float | None) -> str:
    if tempo is None:
        return ""
    if version == "8":
        events = f'<FloatEvent Time="-63072000" Value="{tempo}" /><FloatEvent Time="64" Value="99" />'
        inner = f"<ArrangerAutomation><Events>{events}</Events></ArrangerAutomation>"
        return f"<MasterTrack><MasterChain><Mixer><Tempo>{inner}</Tempo></Mixer></MasterChain></MasterTrack>"
    tag = "MainTrack" if version == "12" else "MasterTrack"
    return f"<{tag}><DeviceChain><Mixer><Tempo>{_value('Manual', tempo)}</Tempo></Mixer></DeviceChain></{tag}>"


def xml(
    version: str,
    tracks: dict[str, tuple[Clip, ...]],
    *,
    tempo: float | None = 120.0,
    audio: tuple[str, ...] = (),
    grooves: tuple[Clip, ...] = (),
    takes: tuple[Clip, ...] = (),
    devices: dict[str, str] | None = None,
    muted: tuple[str, ...] = (),
) -> bytes:
    """A set's XML; `takes` lie in the take lanes of every track, `devices` are the XML of those of some tracks."""
    inside = "".join(
        _track(version, "Midi", name, clips, takes, (devices or {}).get(name, ""), muted=name in muted)
        for name, clips in tracks.items()
    )
    inside += "".join(_track(version, "Audio", name, (), ()) for name in audio)
    pool = "".join(f"<Groove><Clip><Value>{clip(version, c)}</Value></Clip></Groove>" for c in grooves)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Ableton MajorVersion="5" Creator="{CREATORS[version]}"><LiveSet>'
        f"<Tracks>{inside}</Tracks>{_tempo(version, tempo)}<GroovePool><Grooves>{pool}</Grooves></GroovePool>"
        "</LiveSet></Ableton>\n"
    ).encode()


def save(path: Path, data: bytes, *, plain: bool = False) -> Path:
    """Writes a set, in gzip unless `plain`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if plain else gzip.compress(data, mtime=0))
    return path
