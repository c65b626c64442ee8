"""The bundled performance for the demo and the tests: what a keyboard player plays in the call loops.

The phrases are written as voices, one string per bar, in a small notation: `C4+F4/6` is a chord of six sixteenths,
`-/2` a rest. A mark after the length says how it is played:

| mark | meaning |
|---|---|
| `'` | short |
| `!` | accented |
| `~` | a slip: late |
| `*` | a slip: the key bounces and sounds twice |
| `?` | a slip: the key below is touched too |

Timing and dynamics come from a seeded generator: the same arguments give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from rtgen.music.files import Event, note_events
from rtgen.music.note import Loop, Note
from rtgen.music.time import TICKS_PER_SIXTEENTH

TEMPO = 96.0
"""Tempo of the performance in BPM."""
PHRASE = 3840
"""Length of a phrase in ticks: two bars of 4/4."""

_LATE, _BOUNCE, _RELEASE = 58, 70, 30  # ticks
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "b": -1, "#": 1}


@dataclass(frozen=True, slots=True)
class _Phrase:
    """A phrase of two bars.

    Args:
        voices: (velocity, first bar, second bar) of each voice.
        pedal: positions in sixteenths where the harmony and the sustain pedal change.
        swing: delay of every second sixteenth in ticks.
        legato: sounding duration of a note as a fraction of its written length.
    """

    voices: tuple[tuple[int, str, str], ...]
    pedal: tuple[int, ...] = ()
    swing: int = 0
    legato: float = 0.93


# All in F major and its relative, D minor. Each has an open ending that invites an answer.
_PHRASES = (
    # A pop loop: F, C/E, Dm7, Bb(add9), with a 3 + 3 + 2 hook.
    _Phrase(
        (
            (84, "A4/3! C5/3 A4/2 G4/3! A4/3 G4/2?", "F4/3! A4/3 C5/2 D5/3! C5/5"),
            (60, "C4+F4/6 C4+F4/2' C4+E4/6 C4+E4/2'", "A3+C4/6 A3+C4/2' F4+Bb4/3 F4+G4/5"),
            (70, "F2/6! C3/2 E2/6 C3/2", "D2/6! A2/2 Bb1/6 C2/2"),
        ),
    ),
    # Arpeggios with pedal: Dm9, Bbmaj7, F/A, Csus4 resolving.
    _Phrase(
        (
            (
                64,
                "D3/1! A3/1 E4/1 F4/1 A4/1! F4/1 E4/1 F4/1 Bb2/1! F3/1 D4/1 A4/1 D5/1! A4/1 F4/1 D4/1",
                "A2/1! F3/1 C4/1 G4/1 C5/1~ A4/1 G4/1 F4/1 C3/1! G3/1 D4/1 F4/1 G4/2! E4/2",
            ),
        ),
        pedal=(0, 8, 16, 24),
    ),
    # A riff with swung sixteenths: octave bass, off-beat stabs, a lick, and A7 as a turnaround.
    _Phrase(
        (
            (
                78,
                "-/4 F4+A4+C5/1'! -/4 F4+A4+C5/1' -/2 A4/1 C5/1 D5/2!",
                "-/4 F4+A4+C5/1'! -/5 F4+Bb4+D5/1' -/2 E4+G4+C#5/3!",
            ),
            (
                88,
                "D2/2! -/1 D3/1' -/2 C3/1 D3/1'* -/2 A2/1 -/1 C3/2 -/2",
                "D2/2! -/1 D3/1' -/2 C3/1 D3/1' -/1 F2/2 G2/1 A2/2! A2/2",
            ),
        ),
        swing=18,
    ),
    # A song over a descending bass in minor: Dm, C, Bb6, A; it stops on the leading note.
    _Phrase(
        (
            (88, "A4/4 D5/2 F5/2! E5/3! D5/1 C5/4", "D5/4 G5/2! F5/2 E5/3!~ D5/1 C#5/4"),
            (50, "F4/8 E4+G4/8", "F4+Bb4/8 E4+G4/8"),
            (66, "D2/6! A2/2 C2/6 G2/2", "Bb1/6! F2/2 A1/4 A2/4"),
        ),
        legato=0.99,
    ),
    # A sparse one-hand tune in F that rests on the second degree.
    _Phrase(
        ((82, "C4/2 F4/2! G4/2 A4/4! -/2 Bb4/1 A4/1 G4/2", "A4/1 G4/1? F4/2 D4/4! -/2 C4/1 D4/1 F4/1 G4/3!"),),
        swing=8,
    ),
)


def performance(loops: int, length: int = PHRASE) -> tuple[Event, ...]:
    """Returns a performance in which calls and answers alternate: phrases in loops 0, 2, 4 ..., silence in the others.

    The phrases follow one another and repeat after the last, played a little differently. A loop longer than two bars
    holds several phrases, a shorter one as much as fits. Everything is on MIDI channel 1. Notes on a downbeat may come
    a few ticks early; all notes and the pedal are released before their loop ends.

    Args:
        loops: number of loops, calls and answers together.
        length: length of a loop in ticks.

    Returns:
        Events in order of time; note-offs before note-ons at equal ticks.
    """
    events: list[Event] = []
    count = 0
    for loop in range(0, loops, 2):
        for offset in range(0, length, PHRASE):
            start, room = loop * length + offset, min(PHRASE, length - offset)
            events += _play(_PHRASES[count % len(_PHRASES)], start, room, Random(count))
            count += 1
    # Sorted by tick only: the sort is stable, and note_events puts note-offs first.
    return tuple(sorted(events, key=lambda e: e.tick))


def _play(phrase: _Phrase, start: int, room: int, random: Random) -> list[Event]:
    notes = [
        replace(n, onset=max(n.onset, -start))  # nothing before the start of the performance
        for voice in phrase.voices
        for n in _voice(voice, phrase, random)
        if n.onset < room - 60
    ]
    # Keys are released before they are struck again, and just before the loop ends.
    played = Loop(room - _RELEASE, tuple(notes)).monophonic_by_pitch()
    return _pedal(phrase, start, room, random) + note_events(played.notes, start=start)


def _pedal(phrase: _Phrase, start: int, room: int, random: Random) -> list[Event]:
    """Returns the pedal events: lifted just after each change of harmony, soon pressed again, lifted at the end."""
    events = []
    for change in (s * TICKS_PER_SIXTEENTH for s in phrase.pedal):
        if change < room - 120:
            lift, press = change + random.randint(14, 26), change + random.randint(55, 80)
            events.append(Event(start + lift, bytes((0xB0, 64, 0))))
            events.append(Event(start + press, bytes((0xB0, 64, random.randint(100, 127)))))
    if events:
        events.append(Event(start + room - _RELEASE, bytes((0xB0, 64, 0))))
    return events[1:]  # nothing to lift at the first harmony


def _voice(voice: tuple[int, str, str], phrase: _Phrase, random: Random) -> Iterator[Note]:
    velocity, *bars = voice
    position = 0
    for token in " ".join(bars).split():
        names, _, rest = token.partition("/")
        written = int(rest.rstrip("'!~*?"))
        marks = rest[len(str(written)) :]
        struck = position * TICKS_PER_SIXTEENTH + phrase.swing * (position % 2) + _within(random, 6, 16)
        struck += _LATE if "~" in marks else 0
        held = written * TICKS_PER_SIXTEENTH * (0.5 if "'" in marks else phrase.legato)
        # Metrical accents: beats a little louder than the notes between them.
        touch = velocity + (14 if "!" in marks else 0) + (3 if position % 4 == 0 else -3 * (position % 2))
        position += written
        if names == "-":
            continue
        for number, name in enumerate(names.split("+")):
            pitch = _pitch(name)
            # The notes of a chord are slightly spread, the lowest first.
            onset = struck + 4 * number + _within(random, 2, 5)
            loud = min(max(touch + _within(random, 4, 9), 20), 120)
            duration = max(round(held) + _within(random, 6, 15), 30)
            yield Note(onset, pitch, duration, loud)
            if "*" in marks:
                yield Note(onset + _BOUNCE, pitch, 40, max(loud - 26, 20))
            if "?" in marks:
                yield Note(onset + 9, pitch - 1, 44, max(loud - 34, 20))


def _within(random: Random, deviation: float, most: int) -> int:
    return min(max(round(random.gauss(0, deviation)), -most), most)


def _pitch(name: str) -> int:
    """Returns the MIDI pitch of a note name; C4, middle C, is 60."""
    return 12 * (int(name[-1]) + 1) + _LETTERS[name[0]] + _ACCIDENTALS[name[1:-1]]
