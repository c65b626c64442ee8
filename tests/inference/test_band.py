from __future__ import annotations

import pytest

from rtgen.inference.band import Band, Touch, ends, voicing
from rtgen.music.chord import KINDS, Chord
from rtgen.music.note import Note
from rtgen.music.parts import PARTS
from rtgen.music.time import HALF, Metre

C, F, G7, AM = (
    Chord(root, next(kind for kind in KINDS if kind.name == name))
    for root, name in ((0, ""), (5, ""), (7, "7"), (9, "m"))
)
CALM, LIVELY, BUSY = (Touch(density, 80, 72, 0) for density in (0.3, 1.5, 4.0))


def bars(chords: list[Chord | None], touch: Touch, metre: Metre = Metre(), each: int = 8) -> dict[str, list[Note]]:  # noqa: B008
    """What the band plays to chords of so many half beats each."""
    halves = [chord for chord in chords for _ in range(each)]
    band = Band(metre, PARTS)
    found: dict[str, list[Note]] = {part: [] for part in PARTS}
    for half in range(len(halves)):
        for part, notes in band.play(half, halves[half - 1] if half else None, halves[half : half + 8], touch).items():
            found[part] += notes
    return found


@pytest.mark.parametrize("touch", [CALM, LIVELY, BUSY])
@pytest.mark.parametrize("metre", [Metre(), Metre(3, 4), Metre(6, 8), Metre(5, 4)])
def test_all_that_is_played_is_in_the_chord_and_begins_with_it(touch: Touch, metre: Metre) -> None:
    each = metre.bar // HALF
    played = bars([C, F, G7, AM], touch, metre, each)
    for i, chord in enumerate((C, F, G7, AM)):
        inside = range(i * metre.bar, (i + 1) * metre.bar)
        struck = [n for n in played["comping"] if n.onset in inside]
        assert struck[0].onset == inside[0]
        assert {n.pitch % 12 for n in struck} == set(chord.classes)
        bass = [n for n in played["bass"] if n.onset in inside]
        assert (bass[0].onset, bass[0].pitch % 12) == (inside[0], chord.bass)
        assert max(n.pitch for n in bass) < min(n.pitch for n in struck)
        assert all(n.end <= inside[-1] + 1 for n in (*struck, *bass))
    assert played["drums"]


def test_the_busier_the_melody_the_busier_the_band() -> None:
    counts = [[len(bars([C, F, G7, AM], touch)[part]) for part in ("bass", "drums")] for touch in (CALM, LIVELY, BUSY)]
    assert counts[0][0] < counts[1][0] < counts[2][0]
    assert counts[0][1] < counts[1][1] <= counts[2][1]


def test_the_bass_leads_to_the_next_chord_and_takes_the_bass_of_it() -> None:
    over = Chord(7, next(kind for kind in KINDS if kind.name == "/3"))
    bass = bars([C, over], CALM)["bass"]
    assert [n.pitch % 12 for n in bass] == [0, 11]
    last = max((n for n in bars([C, F], BUSY)["bass"] if n.onset < 1920), key=lambda n: n.onset)
    assert last.onset == 1920 - HALF
    assert abs(last.pitch - next(n.pitch for n in bars([C, F], BUSY)["bass"] if n.onset == 1920)) <= 2


def test_nothing_is_played_before_the_melody_or_without_a_chord() -> None:
    assert not any(bars([C, F], Touch()).values())
    silent = bars([None, None], LIVELY)
    assert not silent["bass"]
    assert not silent["comping"]


def test_the_touch_follows_what_is_played() -> None:
    touch = Touch()
    for half in range(32):
        touch = touch.heard([Note(half * HALF, 67, 200, 110), Note(half * HALF + 120, 69, 100, 110)], half)
    assert touch.density == pytest.approx(4, abs=0.2)
    assert touch.velocity == pytest.approx(110, abs=2)
    assert (touch.lowest, touch.silent) == (67, 0)
    for half in range(32, 42):
        touch = touch.heard([], half)
    assert touch.density < 1
    assert touch.silent == 10


def test_voices_move_little() -> None:
    place = voicing(C, (55, 60, 64), 70)
    for chord in (AM, F, G7, C):
        after = voicing(chord, place, 70)
        assert {p % 12 for p in after} == set(chord.classes)
        assert sum(min(abs(p - old) for old in place) for p in after) <= 6
        assert after[0] >= 48
        assert after[-1] <= 72
        place = after


def test_the_band_goes_on_to_the_end_of_a_bar_in_which_the_melody_grows_calm() -> None:
    band = Band(Metre())
    struck = [band.play(half, None if not half else C, [C] * 8, LIVELY if half < 2 else CALM) for half in range(8)]
    assert [half for half in range(8) if struck[half]["bass"]] == [0, 4]
    assert [half for half in range(8) if struck[half]["comping"]] == [0, 1, 2, 4, 5, 6]


def test_comping_is_in_single_notes_between_the_beats_and_no_key_is_struck_while_it_is_down() -> None:
    for touch in (CALM, LIVELY, BUSY):
        played = bars([G7, C], touch)["comping"]
        assert {n.onset for n in played} >= {480 * beat for beat in range(8)}
        for half in range(1, 16, 2):
            assert len([n for n in played if n.onset == half * HALF]) <= 1
        for n in played:
            assert not any(m.pitch == n.pitch and n.onset < m.onset < n.end for m in played)


def test_no_two_notes_are_equally_loud_but_each_is_the_same_whenever_it_is_planned() -> None:
    played = bars([C, F], LIVELY)["comping"]
    for on in {n.onset for n in played}:
        loud = [n.velocity for n in played if n.onset == on]
        assert max(loud) - min(loud) <= 20
    assert len({n.velocity for n in played}) > len(played) / 4
    assert played == bars([C, F], LIVELY)["comping"]


def test_a_part_whose_level_is_0_is_as_soft_as_can_be() -> None:
    levels = {f"{part}_level": 0.0 for part in PARTS}
    made = Band(Metre(), PARTS).play(0, None, [C] * 8, BUSY, levels)
    assert {n.velocity for notes in made.values() for n in notes} == {1}


def test_comping_rings_until_its_key_is_struck_again_or_the_chord_changes() -> None:
    played = sorted(bars([C, F], LIVELY)["comping"])
    for n in played:
        after = min([m.onset for m in played if m.pitch == n.pitch and m.onset > n.onset], default=3840)
        assert n.end == min(after, (n.onset // 1920 + 1) * 1920) - 10


def test_a_new_note_ends_the_one_before_only_in_parts_of_one_voice() -> None:
    assert ends("bass", True, False)
    assert ends("second", True, False)
    assert not ends("comping", True, False)
    assert ends("comping", False, True)
    assert not ends("drums", True, True)


def test_no_voice_is_above_the_melody_where_there_is_room_below() -> None:
    assert max(voicing(C, (64, 67, 72), 66)) <= 66
