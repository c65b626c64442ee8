from __future__ import annotations

from dataclasses import replace

import pytest

from rtgen.inference.along import Along
from rtgen.instrument.events import Chosen, Event, Output, Pressed, Received, Turned, Used, Warmed
from rtgen.instrument.job import HalfBeat, Plan
from rtgen.instrument.notices import CannotUse, KeepAnswer, PlanLate
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import midi
from rtgen.music.note import Note
from rtgen.music.time import HALF
from rtgen.rig.kept.journal import of_event, to_event
from tests.instrument.along import BAR, CHANNELS, Played, harmoniser, melody, play

STOP = bytes((midi.STOP,))


class Listening:
    """A model that plays along, and what it was told and said."""

    def __init__(self) -> None:
        self.told: list[HalfBeat] = []
        self.said: list[Plan] = []
        self._along = Along(harmoniser())

    def hear(self, half: HalfBeat) -> Plan:
        self.told.append(half)
        self.said.append(self._along.hear(half))
        return self.said[-1]

    @property
    def chords(self) -> dict[int, str]:
        """The chord of each half beat as it was committed at last."""
        return {
            plan.since + i: piece.chord for plan in self.said for i, piece in enumerate(plan.pieces[: plan.certain])
        }


def bars_of(played: Played, *parts: str) -> set[int]:
    """The bars in which notes of some parts begin."""
    return {note.onset // BAR for part in parts for note in played.parts[part]}


# ---- the band -------------------------------------------------------------------------------------------------------


def test_a_band_comes_in_and_stays_on_its_channels() -> None:
    played = play(melody(), 16)
    assert not played.stuck
    for part in ("bass", "comping", "drums"):
        assert bars_of(played, part) >= set(range(1, 16)), part
    assert not played.parts["second"]
    assert all(note.end <= 16 * BAR for note in played.all())
    assert not [notice for notice in played.notices if isinstance(notice, PlanLate)]


def test_the_melody_is_in_the_chord() -> None:
    comping = play(melody(), 16, comping_style="held").parts["comping"]
    chords = [(note, {n.pitch % 12 for n in comping if n.onset <= note.onset + 20 < n.end}) for note in melody()]
    inside = [note.pitch % 12 in chord for note, chord in chords if chord]
    assert len(inside) > 30
    assert sum(inside) / len(inside) > 0.45


def test_what_was_committed_is_played_and_never_changes() -> None:
    listening = Listening()
    played = play(melody(8), 8, planner=listening.hear)
    committed: dict[int, set[tuple[str, int, int]]] = {}
    for plan in listening.said:
        assert plan.certain in (0, 1, 2)
        for i, piece in enumerate(plan.pieces[: plan.certain]):
            assert plan.since + i not in committed
            # A beat before it sounds: it is said when the half beat three before it has ended.
            assert plan.since + i - plan.heard in (2, 3)
            committed[plan.since + i] = {(part, n.pitch, (plan.since + i) * HALF + n.onset) for part, n in piece.notes}
    heard = {(part, n.pitch, n.onset) for part, notes in played.parts.items() for n in notes}
    meant = {each for half, notes in committed.items() if half < 64 for each in notes if each[0] != "second"}
    assert heard == meant


def test_the_plan_for_a_bar_is_there_before_it_sounds() -> None:
    listening = Listening()
    play(melody(4), 4, planner=listening.hear)
    for plan in listening.said:
        assert plan.since + len(plan.pieces) == plan.heard + 1 + 8


@pytest.mark.parametrize("ahead", [1, 4])
def test_it_is_committed_as_long_ahead_as_the_knob_says(ahead: int) -> None:
    listening = Listening()
    play(melody(4), 4, planner=listening.hear, ahead=ahead)
    assert {plan.since + plan.certain - 1 - plan.heard for plan in listening.said} == {ahead + 1}


def test_an_abrupt_transposition_is_followed() -> None:
    moved = [replace(n, pitch=n.pitch + 6 * (n.onset >= 8 * BAR)) for n in melody()]
    comping = play(moved, 16).parts["comping"]
    late = [n.pitch % 12 for n in comping if n.onset >= 10 * BAR]
    scale = {(6 + step) % 12 for step in (0, 2, 4, 5, 7, 9, 11)}
    assert sum(tone in scale for tone in late) / len(late) > 0.85


# ---- the left hand --------------------------------------------------------------------------------------------------


def held(pitches: tuple[int, ...], at: int, until: int) -> list[Note]:
    return [Note(at, pitch, until - at, 70) for pitch in pitches]


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_a_chord_of_the_left_hand_sounds_from_the_next_half_beat_on(ahead: int) -> None:
    hand = [*held((37, 41, 44), 8 * HALF, 15 * HALF), *held((40, 45, 48), 16 * HALF, 23 * HALF)]
    listening = Listening()
    played = play([*melody(4), *hand], 4, planner=listening.hear, split=55, ahead=ahead)
    assert [listening.chords[half] for half in range(9, 17)] == ["Db"] * 8
    assert [listening.chords[half] for half in range(17, 24)] == ["Am/E"] * 7
    struck = [n for n in played.parts["comping"] if n.onset == 9 * HALF]
    assert {n.pitch % 12 for n in struck} == {1, 5, 8}
    assert [n.pitch % 12 for n in played.parts["bass"] if n.onset == 9 * HALF] == [1]
    # Nothing of the chord before it goes on.
    assert not [n for n in played.parts["comping"] if n.onset < 9 * HALF < n.end - 20]


def test_what_the_left_hand_plays_is_no_melody() -> None:
    listening = Listening()
    play(held((41, 45, 48), 0, 8 * HALF), 2, planner=listening.hear, split=55)
    assert not any(half.notes for half in listening.told)
    assert any(half.left == (41, 45, 48) for half in listening.told)


def test_its_chord_stays_for_a_bar_after_it_is_let_go() -> None:
    listening = Listening()
    play(held((41, 45, 48), 0, 2 * HALF), 4, planner=listening.hear, split=55)
    lasts = [half.number for half in listening.told if half.left]
    assert 9 <= max(lasts) <= 10


# ---- it ends --------------------------------------------------------------------------------------------------------


def test_it_comes_to_an_end_when_you_stop() -> None:
    played = play(melody(4), 12, patience=1)
    last = max(n.onset for n in played.parts["bass"])
    assert last % BAR == 0
    assert 5 * BAR <= last <= 7 * BAR
    (bass,) = (n for n in played.parts["bass"] if n.onset == last)
    assert bass.pitch % 12 == 0
    assert {n.pitch % 12 for n in played.parts["comping"] if n.onset == last} == {0, 4, 7}
    assert all(n.onset <= last for n in played.all())


def test_it_goes_on_as_soon_as_you_do() -> None:
    again = [replace(n, onset=n.onset + 10 * BAR) for n in melody(4)]
    played = play([*melody(4), *again], 14, patience=1)
    assert not bars_of(played, "bass", "drums") & {8, 9}
    assert bars_of(played, "bass", "drums") >= {10, 11, 12, 13}


def test_it_vamps_while_you_rest() -> None:
    listening = Listening()
    played = play(melody(8), 24, planner=listening.hear, patience=1, alone="vamp")
    assert bars_of(played, "bass", "drums") >= set(range(1, 24))
    late = [[listening.chords[half] for half in range(first, first + 32)] for first in (10 * 8, 14 * 8, 18 * 8)]
    assert late[1] == late[2]


def test_it_rests_while_you_rest() -> None:
    played = play(melody(4), 12, patience=1, alone="rest")
    assert max(n.onset for n in played.all()) < 6 * BAR


# ---- breaks ---------------------------------------------------------------------------------------------------------


def sent_after(played: Played, tick: float) -> list[bytes]:
    """The note-ons that were sent after a tick."""
    return [data for at, data in played.bytes if at * 960 > tick and midi.is_note_on(data)]


@pytest.mark.parametrize(
    "event", [Received(0, STOP), Pressed("mute", True), Pressed("panic"), Pressed("clear")], ids=lambda e: str(e)[-18:]
)
def test_everything_ends_at_once(event: Event) -> None:
    at = 3 * BAR + 100
    played = play(melody(8), 8, [(at, event)])
    assert not played.stuck
    assert any(n.onset < at for n in played.parts["comping"])
    assert all(n.end <= at for n in played.all() if n.onset < at)
    # After panic and clear it goes on, from what is committed then.
    if not isinstance(event, Pressed) or event.button == "mute":
        assert not sent_after(played, at)
    else:
        assert sent_after(played, at)
        assert not [n for n in played.all() if at <= n.onset < at + 1.5 * HALF]


def test_a_part_is_muted_and_comes_back_at_once() -> None:
    off, on = 4 * BAR + 100, 6 * BAR + 100
    played = play(melody(8), 8, [(off, Turned("comping_mute", 1)), (on, Turned("comping_mute", 0))])
    assert not played.stuck
    assert all(n.end <= off + 2 for n in played.parts["comping"] if n.onset < off)
    assert not [n for n in played.parts["comping"] if off <= n.onset < on]
    assert [n for n in played.parts["comping"] if on <= n.onset < on + BAR]
    assert [n for n in played.parts["bass"] if off <= n.onset < on]


def test_a_part_moves_to_another_channel() -> None:
    played = play(melody(4), 4, bass_channel=4)
    assert played.parts["second"]
    assert not played.parts["bass"]


def test_another_place_of_the_song_is_entered_with_what_was_heard() -> None:
    there = [
        (5 * BAR, Received(0, midi.to_song_position(8))),
        (5 * BAR, Received(0, bytes((midi.CONTINUE,)))),
    ]
    listening = Listening()
    played = play(melody(8), 8, there, planner=listening.hear, bars=1)
    assert not played.stuck
    before, after = sorted({half.epoch for half in listening.told})
    first = next(half for half in listening.told if half.epoch == after)
    # It was left on a downbeat and entered in the middle of a bar: the model hears whole bars up to there.
    assert first.number == 4
    assert first.before == tuple(half.notes for half in listening.told if half.epoch == before)[: 5 * 8 - 4]
    assert [n for n in played.all() if n.onset > 5 * BAR + 6 * HALF]


def test_late_plans_leave_rests_and_are_told() -> None:
    """They are late where the song goes so fast that half a beat takes less than a plan."""
    session = Session(Preset().changed(mode="accompany", model="harmoniser", ahead=1), Options())
    listening = Listening()
    second = 1 / 960
    step, waiting, sent, late = 0.0, [], [], 0
    session.step(0.0, Received(0, bytes((midi.START,))))
    for tick in range(0, 4 * BAR, 20):
        now = tick * second
        while waiting and waiting[0][0] <= now:
            out = session.step(now, waiting.pop(0)[1])
            late += sum(isinstance(n, PlanLate) for n in out.notices)
            sent += out.messages
        out = session.step(now, Received(0, bytes((midi.CLOCK,))))
        if tick % 480 == 0:
            sent += session.step(now, Received(0, midi.note_on(0, 60 + tick // 480 % 5, 80))).messages
        sent += out.messages
        # Each takes longer than what it is for.
        waiting += [(now + 2.1 * HALF * second, listening.hear(half)) for half in out.halves]
        step = now
    sent += session.end()
    assert step
    assert late > 20
    assert sum(map(midi.is_note_on, sent)) == sum(map(midi.is_note_off, sent))


def test_a_clip_is_the_last_loop_with_all_its_channels() -> None:
    preset = Preset().changed(mode="accompany", model="harmoniser", temperature=0.1, bars=1)
    session, kept = Session(preset, Options(seed=3)), []
    step = session.step

    def watched(now: float, event: Event | None = None) -> Output:
        out = step(now, event)
        kept.extend(request for request in out.requests if isinstance(request, KeepAnswer))
        return out

    session.step = watched  # type: ignore[method-assign]
    played = play(melody(4), 4, [(3 * BAR + 700, Pressed("keep"))], session=session, bars=1)
    (request,) = kept
    assert request.loop is not None
    strokes = {(stroke.channel, stroke.onset + 2 * BAR, stroke.pitch) for stroke in request.loop.strokes()}
    channels = {part: channel for channel, part in CHANNELS.items()}
    heard = {(channels[part], n.onset, n.pitch) for part, notes in played.parts.items() for n in notes}
    assert strokes == {each for each in heard if 2 * BAR <= each[1] < 3 * BAR}


# ---- the session around it ------------------------------------------------------------------------------------------


def test_the_same_bytes_come_from_the_same_steps() -> None:
    assert play(melody(4), 4).bytes == play(melody(4), 4).bytes


def test_a_plan_survives_the_log() -> None:
    listening = Listening()
    play(melody(4), 4, planner=listening.hear)
    for plan in listening.said:
        assert to_event(of_event(plan)) == plan


def test_a_preset_takes_over_from_a_band_and_to_it() -> None:
    band = Preset().changed(mode="accompany", model="harmoniser", temperature=0.1)
    other = Preset().changed(mode="vary", use="answer")
    played = play(melody(12), 12, [(3 * BAR, Chosen(other)), (7 * BAR, Chosen(band))], answerer=lambda job: job.loop)
    assert not played.stuck
    assert bars_of(played, "bass", "comping") & {2, 3}
    assert not bars_of(played, "bass", "comping") & {4, 5, 6, 7}
    assert bars_of(played, "bass", "comping") >= {9, 10, 11}
    assert all(n.end <= 4 * BAR for n in played.all() if n.onset < 4 * BAR)


def test_another_band_goes_on_where_the_first_was() -> None:
    walking = Preset().changed(mode="accompany", model="harmoniser", bass_style="walking", comping_mute=1, drums_mute=1)
    played = play(melody(8), 8, [(3 * BAR, Chosen(walking))])
    assert not bars_of(played, "comping", "drums") & {4, 5, 6, 7}
    for bar in range(4, 8):
        beats = [n.onset // 480 % 4 for n in played.parts["bass"] if n.onset // BAR == bar]
        assert set(beats) == {0, 1, 2, 3}


def test_a_model_that_was_loaded_again_is_told_what_was_before() -> None:
    listening = Listening()
    play(melody(4), 4, [(2 * BAR + 50, Warmed(0.01))], planner=listening.hear)
    told = [half for half in listening.told if half.before]
    assert [(half.number, len(half.before)) for half in told] == [(16, 16)]
    assert told[0].before == tuple(half.notes for half in listening.told[:16])


def test_only_what_plays_along_is_used_along() -> None:
    for mode, use in ("accompany", "hold"), ("accompany", "answer"), ("vary", "along"):
        session = Session(Preset().changed(mode=mode), Options())
        was = session.use
        assert CannotUse(use) in session.step(0.0, Used(use)).notices  # type: ignore[arg-type]
        assert session.use == was


def test_a_preset_says_what_does_not_go_together() -> None:
    assert Preset().changed(use="along").mode == "accompany"
    assert Preset().changed(mode="accompany").use == "along"
    assert Preset().changed(mode="accompany").changed(mode="vary").use == "answer"
    with pytest.raises(ValueError, match="use along goes with mode accompany"):
        Preset().changed(mode="accompany", use="hold")
    with pytest.raises(ValueError, match="not whole half beats"):
        Preset().changed(mode="accompany", metre="5/16")
