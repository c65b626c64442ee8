"""Drums on channel 10 beside a melody."""

from __future__ import annotations

import pytest

from rtgen.instrument.events import Warmed
from rtgen.instrument.notices import DrumsLeftOut, SelectPreset
from tests.instrument.stage import BAR, CALL, HEARD, Stage, at, moved, started

KICK, HAT = 36, 42
BEAT = [
    (tick + part, bytes((0x99, pitch, 100 * (not part))))
    for tick, pitch in ((t, KICK if t % 960 == 0 else HAT) for t in range(0, BAR, 240))
    for part in (0, 60)
]
"""Kick and hat on channel 10."""
MELODY = [60, 64]


def pitches(stage: Stage) -> list[list[int]]:
    return [[note.pitch for note in job.loop.notes] for job in stage.jobs]


def test_drums_are_no_part_of_a_call_for_a_model_of_notes() -> None:
    plain, stage = started(thru=True, pitched=True), started(thru=True, pitched=True)
    plain.until(2 * BAR, CALL)
    stage.until(2 * BAR, [*CALL, *BEAT])
    assert stage.jobs == plain.jobs
    assert [n for n in stage.notes if n in moved(BAR, HEARD)] == moved(BAR, HEARD)
    # They go through all the same, and it is said once.
    assert [data for _, data in stage.sent if data[0] == 0x99 and data[2]] == [data for _, data in BEAT if data[2]]
    assert stage.notices.count(DrumsLeftOut()) == 1


def test_drums_alone_are_no_call() -> None:
    stage = started(pitched=True)
    stage.until(2 * BAR, BEAT)
    assert stage.jobs == stage.drafts == []


@pytest.mark.parametrize("own", [{"pitched": False}, {"pitched": None}, {"pitched": True, "listens": 10}])
def test_drums_are_heard_by_a_model_of_drums_and_by_who_listens_to_them(own: dict[str, bool | int | None]) -> None:
    stage = started(**own)
    stage.until(2 * BAR, BEAT)
    assert len(stage.jobs) == 1
    assert set(pitches(stage)[0]) == {KICK, HAT}
    assert DrumsLeftOut() not in stage.notices


def test_the_model_says_what_it_plays_when_it_is_ready() -> None:
    """What was played before it was is taken as it turns out to be."""
    stage = started()
    stage.until(BAR // 2, [event for event in sorted([*CALL, *BEAT]) if event[0] < BAR // 2])
    stage.step(stage.time(stage.tick), Warmed(0.001, 0.002, pitched=True))
    stage.until(2 * BAR, [event for event in sorted([*CALL, *BEAT]) if event[0] >= BAR // 2])
    assert pitches(stage) == [MELODY]
    # Another model plays drums; and one restarts that says nothing new.
    stage.step(stage.time(stage.tick), Warmed(0.001, 0.002, pitched=False))
    stage.step(stage.time(stage.tick), Warmed(0.001, 0.002))
    stage.until(4 * BAR, at(2 * BAR, sorted([*CALL, *BEAT])))
    assert set(pitches(stage)[1]) == {KICK, HAT, *MELODY}


def test_a_program_change_on_the_drums_channel_is_a_kit() -> None:
    stage = started(thru=True, pitched=True)
    kit, program = bytes((0xC9, 8)), bytes((0xC0, 8))
    stage.receive(kit)
    assert (stage.requests, stage.sent) == ([], [(0, kit)])
    stage.receive(program)
    assert stage.requests == [SelectPreset("9")]


def mpe(channel: int, pitch: int, tick: int) -> list[tuple[int, bytes]]:
    """A note as MPE has it, with its shape before it."""
    before = [bytes((0xE0 | channel, 0, 64)), bytes((0xB0 | channel, 74, 64)), bytes((0xD0 | channel, 9))]
    note = [(tick, bytes((0x90 | channel, pitch, 80))), (tick + 100, bytes((0x80 | channel, pitch, 64)))]
    return [*((tick, data) for data in before), *note]


def test_the_tenth_channel_of_mpe_is_not_drums() -> None:
    stage = started(pitched=True)
    notes = [(1 + i, 60 + i, 120 * i) for i in range(15)]
    stage.until(2 * BAR, [event for note in notes for event in mpe(*note)])
    assert pitches(stage) == [[pitch for _, pitch, _ in notes]]
    assert DrumsLeftOut() not in stage.notices


def test_pads_with_pressure_beside_a_melody_are_drums() -> None:
    stage = started(pitched=True)
    stage.until(2 * BAR, [*CALL, *mpe(9, KICK, 0), *mpe(9, HAT, 480)])
    assert pitches(stage) == [MELODY]
