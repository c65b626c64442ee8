"""Measures of chords said for a melody while it is played, beside a Markov chain and the songs' own chords.

    python -m train.measures.chords models/harmoniser.onnx --data pop909.zip

Nothing is heard ahead: the chord of a half beat is said before that half beat is heard. A note is in a chord of three
or four notes if its pitch class is, as in ReaLchords (Wu et al., 2024); where no chord is said it is not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table as Rows

from rtgen.inference import ear
from rtgen.inference.harmoniser import Harmoniser, Harmonisers
from rtgen.inference.model import Model
from rtgen.music import key
from rtgen.music.chord import KINDS
from rtgen.music.note import Note
from rtgen.music.time import HALF, Metre
from rtgen.terminal import Terminal
from train.loops import songs
from train.loops.songs import BAR, NONE, Song
from train.measures.goals import CHAIN, HEARD_OUT, judged
from train.measures.markov import Markov
from train.measures.table import Scores, Table, flat, table

OWN, RANDOM = "the song's own", "random in key"
EARLIER = {1: "half a beat ahead", 2: "a beat ahead", 4: "two beats ahead"}
DRAWN = "drawn"
WORDS = {
    "share": "melody in the chord, by time",
    "share_notes": "melody in the chord, by notes",
    "root": "root right, at each beat",
    "changes": "chords in a bar",
    "four": "of them with four notes",
}
_TOLD = ear.table(KINDS)[..., 0]
_BEFORE, _AFTER = 16, 16
"""Bars that are played before and after a melody is transposed."""
_BACK = 0.95
"""Share of what would be in the chord without transposition from which on it is back."""
Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Follows = Callable[[Floats, Ints], Ints]
"""Says chords for melodies, shape (count, halves, 12, `HEARD`), with their positions; shape (count, halves)."""
app = typer.Typer(add_completion=False)


def by_model(model: Model, *, ahead: int = 0, temperature: float = 0.0, seed: int = 0) -> Follows:
    """The chords of a model, each committed so many half beats before it sounds."""

    def follow(heard: Floats, position: Ints) -> Ints:
        many = Harmonisers(
            model, BAR, len(heard), seed=seed, temperature=temperature, ahead=ahead, position=position[:, 0]
        )
        found, halves = [], heard.shape[1]
        for t in range(halves):
            found.append(many.plan(1)[0])
            many.hear(heard[:, t], position[:, min(t + 1, halves - 1)])
        return np.stack(found, axis=1)

    return follow


def padded(every: Sequence[Song]) -> tuple[Floats, Ints]:
    """What is heard of songs and its positions in one array each; silence after the end."""
    halves = max(map(len, every))
    heard = np.zeros((len(every), halves, 12, ear.HEARD), np.float32)
    position = np.tile(np.arange(halves) % BAR, (len(every), 1))
    for i, song in enumerate(every):
        heard[i, : len(song)], position[i, : len(song)] = song.heard, song.position
    return heard, position


def at_random(song: Song, rng: np.random.Generator) -> Ints:
    """Triads of the song's key, which is estimated from all of its melody; a new one where the song has a new one."""
    onset, pitch, end = song.notes
    notes = [Note(int(o), int(p), int(e - o)) for o, p, e in zip(onset, pitch, end, strict=True)]
    tonic = key.major_tonic(key.estimate(notes) or key.Key(0))
    names = {kind.name: i for i, kind in enumerate(KINDS)}
    triads = [
        (tonic + step) % 12 * len(KINDS) + names[name]
        for step, name in ((0, ""), (2, "m"), (4, "m"), (5, ""), (7, ""), (9, "m"))
    ]
    number = np.cumsum(np.append(True, song.chord[1:] != song.chord[:-1]))
    found: Ints = rng.choice(triads, number[-1] + 1)[number]
    return found


def scored(song: Song, chord: Ints) -> dict[str, float]:
    """Figures of the chords of one song."""
    sounds = song.heard[..., 0]
    onset, pitch, _ = song.notes
    at = np.clip((onset + ear.EARLY) // HALF, 0, len(song) - 1)
    beats = (song.position % 2 == 0) & (song.chord != NONE)
    changed = np.append(True, chord[1:] != chord[:-1])
    named = changed & (chord != NONE)
    size = _TOLD.sum(axis=1)[chord]
    return {
        "share": float((sounds * _TOLD[chord]).sum() / sounds.sum()),
        "share_notes": float(_TOLD[chord[at], pitch % 12].mean()),
        "root": float((chord // len(KINDS) == song.chord // len(KINDS))[beats].mean()),
        "changes": float(changed.sum() * BAR / len(song)),
        "four": float((size[named] == 4).mean()) if named.any() else 0.0,
    }


def compared(
    model: Model, every: Sequence[Song], counted: Sequence[Song], tell: Callable[[str], None]
) -> tuple[Table, Markov]:
    """Figures of a model beside baselines.

    Args:
        model: of the role `harmoniser`.
        every: songs to play.
        counted: songs that the Markov chain is counted in.
        tell: told what is being measured.
    """
    rng, chain = np.random.default_rng(0), Markov(counted, firm=2.0)
    heard, position = padded(every)
    name = model.card.name
    follows: Mapping[str, Follows] = {
        CHAIN: chain.followed,
        name: by_model(model),
        **{f"{name}, {called}": by_model(model, ahead=ahead) for ahead, called in EARLIER.items()},
        f"{name}, {DRAWN}": by_model(model, temperature=1.0),
    }
    said: dict[str, Sequence[Ints]] = {
        OWN: [song.chord for song in every],
        RANDOM: [at_random(song, rng) for song in every],
    }
    tell(HEARD_OUT)
    said[HEARD_OUT] = [chain.decoded(song.heard, song.position) for song in every]
    for contender, follow in follows.items():
        tell(contender)
        said[contender] = list(follow(heard, position))
    scores: Scores = {contender: {measure: [] for measure in WORDS} for contender in said}
    for contender, chords in said.items():
        for song, chord in zip(every, chords, strict=True):
            for measure, value in scored(song, chord[: len(song)]).items():
                scores[contender][measure].append(value)
    return table(scores), chain


def recovery(follow: Follows, every: Sequence[Song]) -> tuple[list[float], list[float]]:
    """Share of the melody in the chord, bar by bar, after it was transposed by 1 to 6 semitones; and if it was not.

    Args:
        follow: says the chords.
        every: songs, of which each is heard for 32 bars and transposed in the middle, where most is sung.
    """
    half = _BEFORE * BAR
    cut: list[Floats] = []
    for song in every:
        busy = song.heard[..., 0].sum(axis=1)
        firsts = [t for t in np.flatnonzero(song.position == 0) if t + half + _AFTER * BAR <= len(song)]
        if firsts:
            first = max(firsts, key=lambda t: busy[t + half : t + half + _AFTER * BAR].sum())
            cut.append(song.heard[first : first + half + _AFTER * BAR])
    curves = []
    for ups in ((1, 2, 3, 4, 5, 6), (0,)):
        moved = np.stack(
            [np.concatenate([part[:half], np.roll(part[half:], up, axis=1)]) for part in cut for up in ups]
        )
        position = np.tile(np.arange(moved.shape[1]) % BAR, (len(moved), 1))
        chord = follow(moved, position)[:, half:]
        sounds = moved[:, half:, :, 0]
        inside = (sounds * _TOLD[chord]).sum(axis=2).reshape(len(moved), _AFTER, BAR).sum(axis=(0, 2))
        curves.append((inside / sounds.sum(axis=2).reshape(len(moved), _AFTER, BAR).sum(axis=(0, 2))).tolist())
    return curves[0], curves[1]


def bars_until(moved: Sequence[float], unmoved: Sequence[float]) -> int:
    """Bars after a transposition until, for two bars, the share is 0.95 of what it would be; all bars if never."""
    back = [one >= _BACK * other for one, other in zip(moved, unmoved, strict=True)]
    return next((bar for bar in range(len(back) - 1) if back[bar] and back[bar + 1]), len(back))


def struck(model: Model, count: int = 100, seed: int = 0) -> tuple[float, float]:
    """Share of plain triads, struck on the beat and held, whose root is said one half beat later, and two.

    They are struck in any position and nothing else is played; each lasts two to four beats.
    """
    rng = np.random.default_rng(seed)
    halves = 16 * BAR
    heard = np.zeros((count, halves, 12, ear.HEARD), np.float32)
    wanted, begins = np.zeros((count, halves), np.int64), np.zeros((count, halves), bool)
    for i in range(count):
        t = 0
        while t < halves:
            root, low = int(rng.integers(12)), 48 + int(rng.integers(12))
            pitches = [low + (root + step - low) % 12 for step in (0, 3 + int(rng.integers(2)), 7)]
            size = 2 * int(rng.integers(2, 5))
            notes = np.array([(t * HALF, p, (t + size) * HALF) for p in pitches])
            heard[i, t : t + size] = ear.heard(notes[:, 0], notes[:, 1], notes[:, 2], t, min(size, halves - t))
            wanted[i, t : t + size], begins[i, t] = root, True
            t += size
    chord = by_model(model)(heard, np.tile(np.arange(halves) % BAR, (count, 1)))
    right = chord // len(KINDS) == wanted
    begins[:, :BAR] = False  # before this it has no key
    begins[:, -2:] = False
    one, two = (float(right[:, later:][begins[:, : halves - later]].mean()) for later in (1, 2))
    return one, two


def step_ms(model: Model, song: Song, halves: int = 400) -> tuple[tuple[float, float], tuple[float, float]]:
    """Processor time to hear a half beat, committing a beat ahead, and to plan a bar: median and 99th percentile.

    In milliseconds, of one thread; time in which others had the processor is not counted.
    """
    one = Harmoniser(model, Metre())
    onset, pitch, end = song.notes
    hears, plans = [], []
    for t in range(min(halves, len(song))):
        there = (onset < (t + 1) * HALF) & (end > t * HALF)
        rows = zip(onset[there], pitch[there], end[there], strict=True)
        notes = [Note(int(o), int(p), int(e - o)) for o, p, e in rows]
        began = time.thread_time()
        one.hear(notes)
        heard = time.thread_time()
        one.plan(BAR)
        hears.append((heard - began) * 1e3)
        plans.append((time.thread_time() - heard) * 1e3)
    first, second = ((float(np.median(times)), float(np.percentile(times, 99))) for times in (hears, plans))
    return first, second


@app.command()
def main(
    model: Annotated[Path, typer.Argument(help="Model of the role harmoniser.")] = Path("models/harmoniser.onnx"),
    data: Annotated[list[str] | None, typer.Option(help="pop909.zip, or folders in its form.")] = None,
    split: Annotated[str, typer.Option(help="valid to choose by, test to report once.")] = "valid",
    most: Annotated[int, typer.Option(min=2, help="Most songs to play.")] = 1000,
    card: Annotated[bool, typer.Option("--card", help="Write the results into the model's card.")] = False,
) -> None:
    """Measure how well a model's chords fit a melody, played in time."""
    played = Model(model)
    names = data or ["pop909.zip"]
    every, counted = songs.load(names, split)[:most], songs.load(names, "train")
    console = Terminal()
    with console.status("measuring") as status:
        figures, chain = compared(played, every, [song for song in counted if song.agrees], status.update)
        status.update("transposed")
        moved = {
            name: recovery(follow, every)
            for name, follow in ((played.card.name, by_model(played)), (CHAIN, chain.followed))
        }
        one, two = struck(played)
        hears, plans = step_ms(played, max(every, key=len))
    rows = Rows("", *WORDS.values(), title=f"{played.card.name} on {len(every)} {split} songs")
    for contender, measures in figures.items():
        rows.add_row(contender, *(str(measures[measure]) for measure in WORDS))
    goals = [" ".join(judged(figures[played.card.name], measure, figures)) for measure in WORDS]
    rows.add_row("goal", *goals)
    console.print(rows)
    for name, (after, without) in moved.items():
        console.print(
            f"{name}: back {bars_until(after, without)} bars after a transposition; by bar "
            f"{' '.join(f'{x:.2f}' for x in after[:6])}, without {' '.join(f'{x:.2f}' for x in without[:6])}"
        )
    console.print(f"root of a triad struck on the beat: said a half beat later {one:.2f}, a beat later {two:.2f}")
    console.print(
        f"processor time: a half beat heard {hears[0]:.2f} ms (p99 {hears[1]:.2f}), "
        f"a bar planned {plans[0]:.2f} ms (p99 {plans[1]:.2f})"
    )
    if card:
        from train.export import rewrite_card

        more = {
            "recovery_bars": bars_until(*moved[played.card.name]),
            "struck_next_half_beat": round(one, 4),
            "struck_next_beat": round(two, 4),
            "songs": len(every),
            "ms_a_half_beat": round(hears[0], 3),
        }
        rewrite_card(model, metrics={**flat(figures, played.card.name), **more})


if __name__ == "__main__":
    app()
