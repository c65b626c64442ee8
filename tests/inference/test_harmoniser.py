from __future__ import annotations

import numpy as np
import pytest

from rtgen.inference import ear
from rtgen.inference.harmoniser import Harmoniser, Harmonisers, chord_of, number_of
from rtgen.music.chord import KINDS, Chord, Kind
from rtgen.music.note import Note
from rtgen.music.time import HALF, Metre
from tests.inference.models import of_role

MODEL = of_role("harmoniser")
MAJOR = MODEL.card.chords[0]


def note(half: float, pitch: int, halves: float = 1.0) -> Note:
    return Note(round(half * HALF), pitch, round(halves * HALF))


def heard(notes: list[Note], first: int, count: int) -> ear.Floats:
    rows = np.array([(n.onset, n.pitch, n.end) for n in notes], np.int64).reshape(-1, 3)
    return ear.heard(rows[:, 0], rows[:, 1], rows[:, 2], first, count)


def test_a_chord_is_written_with_its_bass() -> None:
    by_name = {kind.name: kind for kind in KINDS}
    names = [
        str(Chord(root, by_name[kind])) for root, kind in ((0, ""), (9, "m7"), (7, "/3"), (2, "m7/b7"), (8, "maj7"))
    ]
    assert names == ["C", "Am7", "G/B", "Dm7/C", "Abmaj7"]
    assert Chord(11, by_name["m"]).moved(2) == Chord(1, by_name["m"])
    assert Chord(9, by_name["m"]).classes == (9, 0, 4)


def test_what_sounds_in_a_half_beat_is_told_by_pitch_class() -> None:
    told = heard([note(0, 60, 1.5), note(0.5, 67, 0.25)], 0, 3)
    assert told[0, 0].tolist() == [1, 1, 1, 1, 0]
    assert told[0, 7].tolist() == [0.25, 1, 0, 0, 1]
    assert told[1, 0].tolist() == [0.5, 0, 0, 1, 1]
    assert not told[2].any()


def test_a_note_a_moment_early_belongs_to_the_half_beat_after() -> None:
    told = heard([Note(HALF - 15, 62, 100)], 0, 2)
    assert not told[0].any()
    assert told[1, 2, 1] == 1


@pytest.mark.parametrize("first", [0, 3])
def test_half_beats_are_told_one_by_one_as_all_at_once(first: int) -> None:
    notes = [note(i * 0.75, 50 + i * 5 % 13, 1 + i % 3) for i in range(12)]
    whole = heard(notes, 0, 10)
    here = [n for n in notes if n.onset < (first + 1) * HALF and n.end > first * HALF]
    assert np.array_equal(heard(here, first, 1)[0], whole[first])
    # A note that is still held is told the same, however long it is going to be.
    held = [Note(n.onset, n.pitch, n.duration + 5000 * (n.end > (first + 1) * HALF)) for n in here]
    assert np.array_equal(heard(held, first, 1)[0], whole[first])


def test_how_long_a_chord_has_been_there() -> None:
    assert ear.held(np.array([3, 3, 5, 5, 5, 3])).tolist() == [1, 2, 1, 2, 3, 1]


def test_no_chord_is_said_before_anything_is_heard_and_then_what_was_heard() -> None:
    one = Harmoniser(MODEL, Metre(), ahead=0)
    assert one.plan(3) == (None, None, None)
    one.hear([note(0, 65)])
    assert one.now == 1
    assert one.plan(2) == (Chord(5, MAJOR), Chord(5, MAJOR))
    one.hear([])
    assert one.plan(1) == (Chord(5, MAJOR),)
    one.hear(None)
    assert one.plan(1) == (Chord(5, MAJOR),)


def test_a_note_before_the_half_beat_is_no_part_of_it() -> None:
    one = Harmoniser(MODEL, Metre(), ahead=0)
    one.hear([note(0, 60)])
    one.hear([note(0, 60)])  # was released before
    assert one.plan(1) == (Chord(0, MAJOR),)
    one.hear([note(1, 62, 3)])  # is still held
    assert one.plan(1) == (Chord(2, MAJOR),)


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_committed_never_changes(ahead: int, temperature: float) -> None:
    one = Harmoniser(MODEL, Metre(3, 4), seed=4, temperature=temperature, ahead=ahead)
    promised: dict[int, Chord | None] = {}
    for half in range(24):
        plan = one.plan(8)
        assert one.plan(8) == plan
        assert one.plan(3) == plan[:3]
        for i, chord in enumerate(plan[: ahead + 1]):
            assert promised.setdefault(half + i, chord) == chord
        one.hear([note(half, 60 + half * 5 % 12)])
    assert len(set(promised.values())) > 4


def test_a_chord_follows_as_soon_as_it_is_not_committed() -> None:
    for ahead in (0, 1, 2):
        one = Harmoniser(MODEL, Metre(), ahead=ahead)
        for half in range(8):
            one.hear([note(half, 60 if half < 4 else 65)])
            plan = one.plan(4)
            if half == 4:  # the first F has been heard
                assert plan[:ahead] == (Chord(0, MAJOR),) * ahead
                assert plan[ahead:] == (Chord(5, MAJOR),) * (4 - ahead)


def test_the_same_seed_says_the_same_however_often_it_is_asked() -> None:
    said = []
    for times in (0, 1, 3):
        one = Harmoniser(MODEL, Metre(), seed=9, temperature=1.0)
        found: list[Chord | None] = []
        for half in range(20):
            for _ in range(times):
                one.plan(8)
            found += one.plan(1)
            one.hear([note(half, 60 + half % 7)])
        said.append(found)
    assert said[0] == said[1] == said[2]
    other = Harmoniser(MODEL, Metre(), seed=10, temperature=1.0)
    found = []
    for half in range(20):
        found += other.plan(1)
        other.hear([note(half, 60 + half % 7)])
    assert found != said[0]


def test_the_players_own_chord_is_taken_as_it_is() -> None:
    one = Harmoniser(MODEL, Metre(), ahead=1)
    one.hear([note(0, 60)])
    mine = Chord(10, MODEL.card.chords[1])
    one.take(mine)
    for half in range(1, 5):
        assert one.plan(8) == (mine,) * 8
        one.hear([note(half, 60)])
    one.take(None)
    assert one.plan(8)[:2] == (mine, mine)  # was committed
    assert one.plan(8)[2:] == (Chord(0, MAJOR),) * 6
    with pytest.raises(ValueError, match="tuple"):
        one.take(Chord(0, Kind("?", (0, 1))))


def test_many_melodies_are_heard_as_each_alone() -> None:
    tunes = [[60, 62, 64, 65], [67, 67, 62, 71]]
    many = Harmonisers(MODEL, 8, 2)
    alone = [Harmoniser(MODEL, Metre(), ahead=0) for _ in tunes]
    for half in range(4):
        plan = many.plan(4)
        for i, one in enumerate(alone):
            assert [chord_of(int(n), MODEL.card) for n in plan[:, i]] == list(one.plan(4))
            one.hear([note(half, tunes[i][half])])
        many.hear(np.concatenate([heard([note(half, tune[half])], half, 1) for tune in tunes]))


def test_every_chord_has_a_number() -> None:
    card = MODEL.card
    for number in range(12 * len(card.chords)):
        chord = chord_of(number, card)
        assert chord is not None
        assert number_of(chord, card) == number
        row = ear.table(card.chords)[number]
        assert set(np.flatnonzero(row[:, 0])) == set(chord.classes)
        assert (row[:, 1].argmax(), row[:, 2].argmax()) == (chord.root, chord.bass)
    assert chord_of(12 * len(card.chords), card) is None


def test_what_was_planned_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    run = MODEL.run

    def counted(inputs: dict[str, ear.Floats]) -> dict[str, ear.Floats]:
        runs.append(1)
        return run(inputs)

    monkeypatch.setattr(MODEL, "run", counted)
    one = Harmoniser(MODEL, Metre(), ahead=2, temperature=0.5)
    for half in range(4):
        runs.clear()
        one.hear([note(half, 60 + half)])
        plan = one.plan(8)
        assert len(runs) == 8  # one to hear it, and one for each further half beat
        assert one.plan(8) == plan
        assert len(runs) == 8
    one.take(Chord(3, MAJOR), one.now + 5)
    runs.clear()
    one.plan(8)
    assert len(runs) <= 7  # those after the chord of the left hand
