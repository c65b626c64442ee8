"""Measures of a band that plays along, as it is heard: a whole session, in simulated time, to the melodies of songs.

    python -m train.measures.along models/harmoniser.onnx --data pop909.zip

With `--judged 50` the judge (`train.measures.judge`, extra 'judge') says how well comping and bass can be told from the
piano of the songs, each beside the melody.

What counts is the chord that was committed for each half beat, by default a beat before it sounds. A note is in it if
its pitch class is; where no chord sounds, as before the band comes in, it is not.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from rtgen.inference import ear
from rtgen.inference.along import Along
from rtgen.inference.band import Band, Touch, ends
from rtgen.inference.harmoniser import Harmonisers, chord_of
from rtgen.inference.model import Model
from rtgen.instrument.job import HalfBeat, Job, Plan
from rtgen.instrument.notices import PlanLate
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import files
from rtgen.music.chord import KINDS, Chord
from rtgen.music.key import NAMES
from rtgen.music.note import Loop, Note
from rtgen.music.parts import Part
from rtgen.music.time import HALF, Metre
from rtgen.rig.offline import simulate, with_clock
from rtgen.terminal import Terminal
from train.loops import songs
from train.loops.songs import BAR, Song
from train.measures.chords import at_random, bars_until, padded
from train.measures.features import Features, of_pair
from train.measures.judge import Verdict, judge
from train.prepare.sources.find import find
from train.prepare.sources.midi import read

TEMPO = 120.0
LOOP = 2 * BAR * HALF
"""Ticks that the judge hears at once."""
_LOOPS = 16
"""Most loops of a song that are judged, of which every other one is music."""
_HEARD_BARS = 48
"""Bars of a song that the band plays to for the judge."""
_GRID = HALF // 2
"""Ticks to which the piano is moved for the judge: the band is on the grid, and would be told by that alone."""
_BEFORE, _AFTER = 8, 12
"""Bars that are played before and after a melody is transposed."""
Ints = NDArray[np.int64]
app = typer.Typer(add_completion=False)
PIANO = "PIANO"
"""Name of a track."""
RANDOM_STRUCK, ITSELF = "random chords in key, on the beat", "the piano itself"
_RIGHT = 48
"""Pitch from which on notes of the piano are beside the comping; those below are the bass."""
_CLASSES: dict[str, tuple[int, ...]] = {"": ()}


def _classes(name: str) -> tuple[int, ...]:
    """Pitch classes of a chord by its name."""
    if not _CLASSES.get("C"):
        for root in range(len(NAMES)):
            for kind in KINDS:
                chord = Chord(root, kind)
                _CLASSES.setdefault(str(chord), chord.classes)
    return _CLASSES[name]


class Watched:
    """A model that plays along, what it committed for each half beat, and how long it took.

    Args:
        model: of the role `harmoniser`.
    """

    def __init__(self, model: Model) -> None:
        self._along = Along(model)
        self.chords: dict[int, str] = {}
        self.took_ms: list[float] = []

    def hear(self, half: HalfBeat) -> Plan:
        """As `Along.hear`; only time of this thread counts."""
        began = time.thread_time()
        plan = self._along.hear(half)
        self.took_ms.append((time.thread_time() - began) * 1e3)
        for i, piece in enumerate(plan.pieces[: plan.certain]):
            self.chords[plan.since + i] = piece.chord
        return plan


def _unasked(job: Job) -> Loop:
    raise AssertionError(job)


def played(model: Model, notes: Ints, halves: int, ahead: int) -> tuple[list[str], list[float], int]:
    """What a session plays along with a melody.

    Args:
        model: of the role `harmoniser`.
        notes: onsets, pitches and ends in ticks, shape (3, notes); the song begins with a bar.
        halves: how many half beats it is played for.
        ahead: half beats before it sounds at which a chord is committed.

    Returns:
        The chord of each half beat, milliseconds of each plan, and how many plans were late.
    """
    watched = Watched(model)
    preset = Preset().changed(mode="accompany", model="harmoniser", tempo=TEMPO, temperature=0.1, ahead=ahead)
    melody = [Note(int(on), int(pitch), int(max(end - on, 1)), 80) for on, pitch, end in notes.T if on < halves * HALF]
    timed = with_clock(
        files.note_events(Loop(halves * HALF, tuple(melody)).monophonic_by_pitch().notes), halves * HALF, TEMPO
    )
    seconds = halves * HALF * 60 / (TEMPO * 480)
    _, notices = simulate(Session(preset, Options()), timed, _unasked, seconds, watched.hear)
    late = sum(isinstance(notice, PlanLate) for notice in notices)
    return [watched.chords.get(half, "") for half in range(halves)], watched.took_ms, late


def inside(chords: Sequence[str], notes: Ints, first: int = 0, last: int | None = None) -> tuple[float, float]:
    """Share of a melody's notes that are in the chord as they begin, and of its time.

    Args:
        chords: of each half beat.
        notes: of the melody, shape (3, notes).
        first: half beat from which on it counts.
        last: half beat up to which.
    """
    last = len(chords) if last is None else last
    right, sounds, there = 0, 0.0, 0.0
    count = 0
    for onset, pitch, end in notes.T.tolist():
        begins = (onset + ear.EARLY) // HALF
        if first <= begins < last:
            count += 1
            right += pitch % 12 in _classes(chords[begins])
        for half in range(max(onset // HALF, first), min((end - 1) // HALF + 1, last)):
            ticks = min(end, (half + 1) * HALF) - max(onset, half * HALF)
            sounds += ticks
            there += ticks * (pitch % 12 in _classes(chords[half]))
    return right / max(count, 1), there / max(sounds, 1)


def _from_a_bar(song: Song) -> Ints:
    """The notes of a song, from its first whole bar on at the beginning of a bar."""
    first = int(np.flatnonzero(song.position == 0)[0]) * HALF
    kept = song.notes[:, song.notes[0] >= first].copy()
    kept[[0, 2]] -= first
    return kept


def recovery(model: Model, every: Sequence[Ints], ahead: int, ups: Sequence[int]) -> list[float]:
    """Share of the melody in the chord by bars, after it was transposed.

    Args:
        model: of the role `harmoniser`.
        every: melodies, of which each is heard for 20 bars and transposed after eight.
        ahead: as in `played`.
        ups: semitones.
    """
    shares = np.zeros((len(every) * len(ups), _AFTER))
    for i, notes in enumerate(every):
        for j, up in enumerate(ups):
            moved = notes.copy()
            moved[1, moved[0] >= _BEFORE * BAR * HALF] += up
            chords, _, _ = played(model, moved, (_BEFORE + _AFTER) * BAR, ahead)
            for bar in range(_AFTER):
                at = (_BEFORE + bar) * BAR
                shares[i * len(ups) + j, bar] = inside(chords, moved, at, at + BAR)[1]
    found: list[float] = shares.mean(axis=0).tolist()
    return found


def pianos(names: Sequence[Path | str], split: str, most: int) -> list[tuple[Song, list[Note], list[Note]]]:
    """Songs with their melody and their piano, which is moved to the grid."""
    found: list[tuple[Song, list[Note], list[Note]]] = []
    for source in find(names):
        if source.suffix != ".mid" or songs.split_of(source) != split or len(found) == most:
            continue
        song = songs.song(source)
        tracks = {} if song is None else {name.upper(): notes for name, notes in read(source).pieces[0].tracks}
        if song is not None and PIANO in tracks:
            melody = [Note(*row) for row in tracks[songs.MELODY].T.tolist() if 0 <= row[0] < len(song) * HALF]
            onset, ends = (_on_grid(x) for x in (tracks[PIANO][0], tracks[PIANO][0] + tracks[PIANO][2]))
            rows = zip(onset, tracks[PIANO][1], np.maximum(ends - onset, _GRID) - 10, tracks[PIANO][3], strict=True)
            found.append((song, sorted(melody), sorted(Note(*map(int, row)) for row in rows)))
    return found


def _on_grid(ticks: Ints) -> Ints:
    found: Ints = np.rint(ticks / _GRID).astype(np.int64) * _GRID
    return found


def accompanied(
    model: Model, every: Sequence[Song], melodies: Sequence[Sequence[Note]], ahead: int = 2
) -> list[dict[Part, list[Note]]]:
    """What a band plays to some melodies: the chords of all songs are said at once, and no session is simulated."""
    heard, position = padded(every)
    halves = min(heard.shape[1], _HEARD_BARS * BAR)
    many = Harmonisers(model, BAR, len(every), temperature=0.03, ahead=ahead, position=position[:, 0])
    plans = np.zeros((halves, BAR, len(every)), np.int64)
    for half in range(halves):
        plans[half] = many.plan(BAR)
        many.hear(heard[:, half], position[:, min(half + 1, halves - 1)])
    found = []
    for i, (song, melody) in enumerate(zip(every, melodies, strict=True)):
        chords = [tuple(chord_of(n, model.card) for n in plan) for plan in plans[: len(song), :, i].tolist()]
        found.append(_parts(melody, chords))
    return found


def _parts(melody: Sequence[Note], plans: Sequence[tuple[Chord | None, ...]]) -> dict[Part, list[Note]]:
    """Bass and comping to a melody, from what is planned at each half beat."""
    parts: tuple[Part, ...] = ("bass", "comping")
    band, touch = Band(Metre(), parts), Touch()
    found: dict[Part, list[Note]] = {part: [] for part in parts}
    within: list[list[Note]] = [[] for _ in plans]
    for note in melody:
        for half in range(note.onset // HALF, min((note.end - 1) // HALF + 1, len(plans))):
            within[half].append(note)
    before = None
    for half, plan in enumerate(plans):
        for part, new in band.play(half, before, plan, touch).items():
            at = half * HALF
            if ends(part, bool(new), plan[0] != before):
                found[part] = [replace(n, duration=min(n.duration, at - n.onset)) for n in found[part]]
            found[part] += new
        before = plan[0] if touch.silent is not None else None
        touch = touch.heard(within[half], half)
    return found


def struck_at_random(song: Song, rng: np.random.Generator) -> list[Note]:
    """Random triads of the song's key, struck on every beat."""
    chords = at_random(song, rng)
    return [
        Note(half * HALF, 48 + int(tone), 2 * HALF - 10, 64)
        for half in range(0, len(song) - 1, 2)
        for tone in np.flatnonzero(ear.table(KINDS)[chords[half], :, 0])
    ]


def loops_of(notes: Sequence[Note], first: int, last: int) -> list[Loop]:
    """Loops of two bars, from a tick on."""
    return [
        Loop(
            LOOP,
            tuple(
                sorted(
                    replace(n, onset=n.onset - at, duration=min(n.duration, at + LOOP - n.onset))
                    for n in notes
                    if at <= n.onset < at + LOOP
                )
            ),
        ).monophonic_by_pitch()
        for at in range(first, last - LOOP + 1, LOOP)
    ]


def judged(model: Model, every: Sequence[tuple[Song, list[Note], list[Note]]]) -> dict[str, Verdict]:
    """What the judge says of the comping, of comping with bass, and of random chords, each beside the melody.

    Of each song every other loop of two bars is music. Comping by itself is beside what the right hand plays.
    """
    rng = np.random.default_rng(0)
    bands = accompanied(model, [song for song, _, _ in every], [melody for _, melody, _ in every])
    whole, upper = "comping and bass", "comping"
    made: dict[str, list[Features]] = {name: [] for name in (whole, upper, RANDOM_STRUCK, ITSELF)}
    music: dict[str, list[Features]] = {whole: [], upper: []}
    names: list[str] = []
    real_names: list[str] = []
    for (song, melody, played), band in zip(every, bands, strict=True):
        first, last = int(np.flatnonzero(song.position == 0)[0]) * HALF, len(song) * HALF
        tracks = {
            "call": melody,
            whole: [*band["bass"], *band["comping"]],
            upper: band["comping"],
            RANDOM_STRUCK: struck_at_random(song, rng),
            ITSELF: played,
            "right": [n for n in played if n.pitch >= _RIGHT],
        }
        cut = {name: loops_of(notes, first, last) for name, notes in tracks.items()}
        # The chords have come in, and in all of them something is played.
        there = [i for i in range(2, len(cut["call"])) if all(len(loops[i]) > 1 for loops in cut.values())][:_LOOPS]
        for i in there[::2]:
            names.append(song.name)
            for name, features in made.items():
                features.append(of_pair(cut["call"][i], cut[name][i]))
        for i in there[1::2]:
            real_names.append(song.name)
            for name, other in ((whole, ITSELF), (upper, "right")):
                music[name].append(of_pair(cut["call"][i], cut[other][i]))
    return {name: judge(features, names, music.get(name, music[whole]), real_names) for name, features in made.items()}


@app.command()
def main(
    model: Annotated[Path, typer.Argument(help="Model of the role harmoniser.")] = Path("models/harmoniser.onnx"),
    data: Annotated[list[str] | None, typer.Option(help="pop909.zip, or folders in its form.")] = None,
    split: Annotated[str, typer.Option(help="valid to choose by, test to report once.")] = "valid",
    most: Annotated[int, typer.Option(min=2, help="Most songs to play.")] = 20,
    moved: Annotated[int, typer.Option(min=0, help="Most songs to transpose.")] = 8,
    judges: Annotated[int, typer.Option("--judged", min=0, help="Most songs for the judge, and nothing else.")] = 0,
) -> None:
    """Measure how a band that plays along fits what is played."""
    harmoniser = Model(model)
    if judges:
        for name, verdict in judged(harmoniser, pianos(data or ["pop909.zip"], split, judges)).items():
            telling = ", ".join(f"{what} {made:.2g}/{real:.2g}" for what, _, made, real in verdict.telling)
            print(f"{name}: {verdict}; tells most {telling}")
        return
    every = songs.load(data or ["pop909.zip"], split)
    console = Terminal()
    for ahead in (1, 2, 4):
        took: list[float] = []
        rows, late, plans = [], 0, 0
        for song in every[:most]:
            notes = _from_a_bar(song)
            chords, ms, missed = played(harmoniser, notes, min(len(song), 64 * BAR), ahead)
            rows.append((*inside(chords, notes), *inside(chords, notes, 2 * BAR)))
            took, late, plans = [*took, *ms], late + missed, plans + len(ms)
        shares = np.mean(rows, axis=0)
        console.print(
            f"ahead {ahead} half beats, {len(rows)} {split} songs: in the chord {shares[0]:.3f} of the notes, "
            f"{shares[1]:.3f} of the time; after two bars {shares[2]:.3f} and {shares[3]:.3f}; "
            f"{late} late of {plans}; a plan takes {np.median(took):.2f} ms (p99 {np.percentile(took, 99):.2f})"
        )
    if moved:
        busy = [notes for notes in map(_from_a_bar, every) if notes[0].max() > (_BEFORE + _AFTER) * BAR * HALF][:moved]
        after, without = (recovery(harmoniser, busy, 2, ups) for ups in ((1, 3, 6), (0,)))
        console.print(
            f"transposed by 1, 3 and 6 semitones, {len(busy)} songs: back {bars_until(after, without)} bars later; "
            f"by bar {' '.join(f'{x:.2f}' for x in after[:8])}, without {' '.join(f'{x:.2f}' for x in without[:8])}"
        )


if __name__ == "__main__":
    app()
