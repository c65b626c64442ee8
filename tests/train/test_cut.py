from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rtgen.music.note import Loop, Note
from train.prepare.cut import Cut, Cutting, cut, loop_classes, monophonic, song_class, windows
from train.prepare.sources.piece import Part, Piece, part

STRIKES = tuple(Note(i * 480, 60 + i, 400, 80) for i in range(40))


def piece(notes: Part, *stretches: tuple[int, int], bar: int = 1920) -> tuple[Piece, Part]:
    return Piece((("x", notes),), stretches, bar), notes


def loops(found: Cut) -> list[list[list[int]]]:
    return [found.notes[:, a:b].T.tolist() for a, b in zip(found.offsets[:-1], found.offsets[1:], strict=True)]


def test_loops_lie_side_by_side_in_each_stretch() -> None:
    two = Piece((), ((480, 4 * 1920), (9000, 3 * 1920)))
    assert windows(two, Cutting()) == [(480, 3840), (4320, 3840), (9000, 3840)]
    assert windows(two, Cutting(keep_last=True))[-1] == (9000 + 3840, 1920)
    assert windows(two, Cutting(bars=4)) == [(480, 7680)]
    assert windows(Piece((), ((0, 3 * 1440),), 1440), Cutting(keep_last=True)) == [(0, 2880), (2880, 1440)]


def test_a_loop_holds_what_begins_in_it_and_an_early_downbeat() -> None:
    notes = [Note(0, 60, 9000), Note(100, 61, 9), Note(500, 61, 9), Note(900, 61, 9)]
    notes += [Note(3825, 62, 100), Note(3839, 64, 100), Note(5000, 65, 9000), Note(6000, 66, 9), Note(7660, 66, 9)]
    first, second = loops(cut([piece(part(notes), (0, 7680))], Cutting()))
    assert first == [[0, 60, 3840, 80], [100, 61, 9, 80], [500, 61, 9, 80], [900, 61, 9, 80]]
    assert second == [[-15, 62, 100, 80], [-1, 64, 100, 80], [1160, 65, 2680, 80], [2160, 66, 9, 80]]


def test_what_is_padded_is_told() -> None:
    notes = part(STRIKES[:14])
    assert cut([piece(notes, (0, 14 * 480))], Cutting()).filled.tolist() == [3840]
    found = cut([piece(notes, (0, 14 * 480))], Cutting(keep_last=True))
    assert found.filled.tolist() == [3840, 6 * 480]
    assert found.length.tolist() == [3840, 3840]
    # The music ends there, and so do its notes.
    assert loops(cut([piece(notes, (0, 13 * 480 + 100))], Cutting(keep_last=True)))[1][-1] == [5 * 480, 73, 100, 80]


def test_other_metres_keep_their_bars() -> None:
    found = cut([piece(part(STRIKES[:12]), (0, 5760), bar=1440), piece(part(STRIKES[:8]), (0, 3840))], Cutting())
    assert found.length.tolist() == [2880, 2880, 3840]
    assert found.bar.tolist() == [1440, 1440, 1920]
    assert found.voice.tolist() == [0, 0, 1]


def test_loops_that_teach_nothing_are_left_out() -> None:
    chord = part(Note(3, 60 + i, 100, 80) for i in range(6))
    few = part(STRIKES[:3])
    many = part(Note(i * 20, 60 + i % 2, 10, 80) for i in range(170))
    assert len(cut([piece(n, (0, 3840)) for n in (chord, few, many)], Cutting()).start) == 0
    assert len(cut([], Cutting()).start) == 0
    assert len(cut([piece(few[:, :0], (0, 3840))], Cutting()).start) == 0


def notes_(low: int = -20, high: int = 3800) -> st.SearchStrategy[Note]:
    return st.builds(Note, st.integers(low, high), st.integers(60, 63), st.integers(1, 2000), st.integers(1, 127))


@given(st.lists(st.lists(notes_(), max_size=12), max_size=4))
def test_many_loops_are_made_monophonic_as_one_is(drawn: list[list[Note]]) -> None:
    loops = [Loop(3840, tuple(replace(n, duration=min(n.duration, 3840 - n.onset)) for n in ns)) for ns in drawn]
    loop = np.repeat(np.arange(len(loops)), [len(x) for x in loops])
    found_loop, found = monophonic(loop, *np.concatenate([part([]), *(part(x.notes) for x in loops)], axis=1))
    for i, x in enumerate(loops):
        assert found[:, found_loop == i].tolist() == part(x.monophonic_by_pitch().notes).tolist()


@given(st.lists(notes_(0, 3000), min_size=4, max_size=20, unique_by=lambda n: n.onset), st.integers(-5, 6))
def test_classes_know_no_key_and_no_velocity(drawn: list[Note], up: int) -> None:
    moved = [replace(n, pitch=n.pitch + up, velocity=1 + n.velocity // 2) for n in drawn]
    other = [replace(drawn[0], onset=(drawn[0].onset + 400) % 3000), *drawn[1:]]
    voices = [piece(part(sorted(notes)), (0, 3840)) for notes in (drawn, moved, other)]
    found = cut(voices, Cutting())
    classes = dict(zip(found.voice.tolist(), loop_classes(found).tolist(), strict=True))
    assert classes.get(0) == classes.get(1)
    assert song_class([part(drawn)]) == song_class([part(moved)])
    assert song_class([part(drawn)]) != song_class([part(other)])


def test_the_same_notes_in_loops_of_other_length_are_another_class() -> None:
    voices = [piece(part(STRIKES[:6]), (0, 3840)), piece(part(STRIKES[:6]), (0, 2880), bar=1440)]
    assert len(set(loop_classes(cut(voices, Cutting())).tolist())) == 2


def test_the_class_of_a_song_stays_what_it_was() -> None:
    # It decides which songs a model may be trained on: had it changed, shipped models would have seen test songs.
    assert f"{song_class([part(STRIKES[:3])]):016x}" == "10d180168a92b6ab"


def test_the_class_of_a_song_is_one_however_long_the_song_is() -> None:
    late = [Note(n.onset + 40 * 2**16, n.pitch, n.duration) for n in STRIKES[:3]]
    text = b";".join(b"%d,%d,10" % (2**16 + 12 * i, i) for i in range(3))
    assert song_class([part(late)]) == int(blake2b(text, digest_size=8).hexdigest(), 16)
    early = [Note(n.onset - 4000, n.pitch, n.duration) for n in STRIKES[:3]]
    text = b";".join(b"%d,%d,10" % (12 * i - 100, i) for i in range(3))
    assert song_class([part(early)]) == int(blake2b(text, digest_size=8).hexdigest(), 16)
