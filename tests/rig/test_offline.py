"""Rendering a file: in its metres, from its first full bar on, in bounded memory."""

from __future__ import annotations

import tracemalloc
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rtgen.instrument.job import Job
from rtgen.instrument.preset import Preset
from rtgen.music import files
from rtgen.music.files import Event, Score, Track, note_events
from rtgen.music.note import Loop, Note
from rtgen.music.time import Metre
from rtgen.rig import offline
from rtgen.rig.demo import demo
from rtgen.rig.kept import presets
from tests.instrument.stage import BAR, CALL, at

FAULTS = Path(__file__).parents[3] / "shared" / "faults"
FOUR, THREE = Metre(), Metre(3, 4)
ANSWER = Preset().changed(mode="clean", use="answer")


def melody(*onsets: int) -> Track:
    """Eighths at these ticks, each of its own pitch as far as there are some."""
    return Track("Keys", tuple(note_events(Note(on, 48 + i % 36, 240, 80) for i, on in enumerate(onsets))))


def rendered(score: Score, preset: Preset = ANSWER) -> tuple[list[Job], list[Note], int]:
    """The jobs, the notes of answers that are what was played, and how many loops were answered."""
    jobs: list[Job] = []

    def echo(job: Job) -> Loop:
        jobs.append(job)
        return job.loop

    found, notices = offline.render(score, preset, echo, 1)
    assert found.tracks[:-1] == score.tracks
    assert (found.tempos, found.metres, found.markers) == (score.tempos, score.metres, score.markers)
    sounding: set[int] = set()
    for event in found.tracks[-1].events:
        if event.data[0] & 0xF0 == 0x90:
            assert event.data[1] not in sounding
            sounding.add(event.data[1])
        elif event.data[0] & 0xF0 == 0x80:
            sounding.remove(event.data[1])
    assert not sounding
    return jobs, found.tracks[-1].notes(), offline.answered(notices, offline.sections(score, preset)[0])


def starts(notes: list[Note]) -> list[int]:
    return [note.onset for note in notes]


def test_every_metre_has_loops_of_its_own() -> None:
    # Four bars of 4/4, four of 3/4, two of 4/4.
    beats = list(range(0, 4 * 1920 + 4 * 1440 + 2 * 1920, 480))
    score = Score((melody(*beats),), metres=((0, FOUR), (4 * 1920, THREE), (4 * 1920 + 4 * 1440, FOUR)))
    played, left_out = offline.sections(score, ANSWER)
    assert [(s.start, s.loops, s.preset.metre) for s in played] == [(0, 2, FOUR), (7680, 2, THREE), (13440, 2, FOUR)]
    assert left_out == 0
    jobs, notes, answered = rendered(score)
    assert [(job.loop.length, job.loop.bar, len(job.loop)) for job in jobs] == [
        *((3840, 1920, 8), (2880, 1440, 6), (3840, 1920, 8))
    ]
    assert all(starts(list(job.loop.notes)) == [480 * i for i in range(len(job.loop))] for job in jobs)
    assert starts(notes) == [*range(3840, 7680, 480), *range(10560, 13440, 480), *range(17280, 21120, 480)]
    assert answered == 3


def test_loops_begin_after_a_pick_up_bar() -> None:
    score = Score((melody(*range(0, 480 * 17, 480)),), metres=((0, Metre(1, 4)), (480, FOUR)))
    assert offline.sections(score, ANSWER)[1] == 1
    jobs, notes, answered = rendered(score)
    assert [starts(list(job.loop.notes)) for job in jobs] == [[480 * i for i in range(8)]]
    assert starts(notes) == [480 + 3840 + 480 * i for i in range(8)]
    assert answered == 1


@pytest.mark.parametrize("use", ["answer", "follow", "hold"])
def test_what_is_too_short_for_a_loop_and_its_answer_is_left_out(use: str) -> None:
    beats = list(range(0, 3 * 1920 + 2 * 1440 + 8 * 1920, 480))
    score = Score((melody(*beats),), metres=((0, FOUR), (3 * 1920, THREE), (3 * 1920 + 2 * 1440, FOUR)))
    preset = ANSWER.changed(use=use)
    played, left_out = offline.sections(score, preset)
    assert ([(s.start, s.loops) for s in played], left_out) == ([(8640, 5)], 2)
    jobs, notes, answered = rendered(score, preset)
    assert answered == {"answer": 2, "follow": 4, "hold": 2}[use]
    assert len(jobs) == answered
    assert min(starts(notes)) == 8640 + 3840
    assert [len(job.loop) for job in jobs] == [8] * len(jobs)


def test_a_call_whose_answer_would_be_in_another_metre_is_not_counted() -> None:
    # Three loops of 4/4, so that the third is a call whose answer is not heard.
    beats = list(range(0, 6 * 1920 + 4 * 1440, 480))
    score = Score((melody(*beats),), metres=((0, FOUR), (6 * 1920, THREE)))
    _, notes, answered = rendered(score)
    assert answered == 2
    assert starts(notes) == [*range(3840, 7680, 480), *range(14400, 17280, 480)]


def test_a_note_of_no_length_is_a_short_one() -> None:
    """It was up to seven beats long: its note-off came before its note-on."""
    events = tuple(Event(480 * i, bytes(data)) for i in range(8) for data in ((0x90, 60 + i, 80), (0x80, 60 + i, 0)))
    jobs, notes, _ = rendered(Score((Track("Keys", events),)))
    assert [(n.onset, n.duration) for job in jobs for n in job.loop.notes] == [(480 * i, 1) for i in range(8)]
    assert [n.duration for n in notes] == [1] * 8


def test_memory_does_not_grow_with_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(beats: int) -> int:
        score = Score((Track("Keys", tuple(note_events([Note(0, 60, 240), Note(480 * beats, 60, 240)]))),))
        tracemalloc.start()
        rendered(score)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(8)
    assert peak(400) < peak(8) + 50_000


CALLS = {
    "metre-changes": [(0, 1920), (0, 1680), (0, 1920)],
    "pick-up-bar": [(0, 1920)] * 2,
    "note-on-and-off-on-one-tick": [(0, 1920)] * 2,
    "slowest-tempo": [(0, 1920)] * 2,
    "key-signature-out-of-range": [(0, 1440)] * 2,
    "sysex-escape": [(0, 1920)] * 2,
    "sysex-in-two-packets": [(0, 1920)] * 2,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_small_file_that_was_misread(name: str, tmp_path: Path) -> None:
    path = FAULTS / f"{name}.mid"
    if not path.exists():
        pytest.skip(f"the shared folder with {path.name} is not here")
    score = files.read(path)
    jobs, _, _ = rendered(score)
    assert [(job.loop.notes[0].onset, job.loop.bar) for job in jobs] == CALLS[name]
    files.write(tmp_path / "again.mid", score)
    assert files.read(tmp_path / "again.mid").tempos == score.tempos


@pytest.mark.parametrize("bar", [0, 1, 2, 5])
def test_a_performance_that_begins_late_is_answered_up_to_its_end(bar: int) -> None:
    played = Track("played", tuple(Event(tick, data) for tick, data in at(bar * BAR, CALL)))
    preset = Preset().changed(bars=1, use="answer", tempo=120)
    score, _ = offline.render(Score((played,), ((0, 120.0),), ((0, preset.metre),)), preset, lambda job: job.loop, 0)
    answer = [(n.onset - (bar + 1) * BAR, n.pitch, n.duration) for n in score.tracks[-1].notes()]
    assert answer == [(0, 60, 400), (960, 64, 890)]


def test_the_demo_draws_and_writes_what_plays_along(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    heard = StringIO()
    console = Console(file=heard, width=500)
    band = presets.load(root / "presets" / "band.yaml")
    model = root / "models" / "harmoniser.onnx"
    demo(band, model, 4, tmp_path, fast=True, seed=1, device="cpu", console=console)
    played, *parts = files.read(tmp_path / "demo.mid").tracks
    assert played.notes()
    assert [track.name for track in parts] == ["bass", "comping", "drums"]
    assert all(track.notes() for track in parts)
    counted = ", ".join(f"{track.name} {len(track.notes())}" for track in parts)
    assert f"harmoniser played along; notes: {counted}." in heard.getvalue()
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_pairs_belong_to_their_stretch_of_the_song() -> None:
    # Eight bars of 4/4, then eight of 3/4: loops are counted anew, and each answer stands beside its own call.
    score = Score((melody(*range(0, 8 * 1920 + 8 * 1440, 480)),), metres=((0, FOUR), (8 * 1920, THREE)))
    _, notices = offline.render(score, ANSWER, lambda job: job.loop, 1)
    pairs = offline.pairs_of(notices)
    answered = [call for call, answer in pairs if answer.notes]
    assert [call.bar for call in answered] == [1920, 1920, 1440, 1440]
    assert all(answer == call for call, answer in pairs if answer.notes)
