"""The values that a session is made of, each by itself."""

from __future__ import annotations

from rtgen.instrument.answers import Answers, Asked, Begun
from rtgen.instrument.asking import Asking
from rtgen.instrument.capture import Capture
from rtgen.instrument.clocks.internal_clock import InternalClock
from rtgen.instrument.clocks.transport import Change, State
from rtgen.instrument.events import Left, Output
from rtgen.instrument.halt import Halt
from rtgen.instrument.job import Answer, Job
from rtgen.instrument.keeping import Keeping
from rtgen.instrument.layers import Layers
from rtgen.instrument.lead import Pace
from rtgen.instrument.notices import ForeignClock, LoopClosed, NoStart, NothingToClose
from rtgen.instrument.opening import Opening
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.rounds import PRE_ROLL, Rounds
from rtgen.instrument.song import Song
from rtgen.instrument.sound import Sound
from rtgen.music import midi
from rtgen.music.note import Loop, Note
from tests.instrument.stage import BAR, CLOCK, START, STOP, off, on

CALL = Loop(BAR, (Note(0, 60, 400), Note(960, 64, 400)))
PRESET = Preset().changed(bars=1)
BEAT_S = 0.5


def clock() -> InternalClock:
    """At 120 BPM from time 0 on."""
    clock = InternalClock(120.0)
    clock.loop = BAR
    clock.expire(0.0)
    return clock


# ---- asking ---------------------------------------------------------------------------------------------------------


def test_a_draft_has_the_seed_of_its_job() -> None:
    asking = Asking(7, hears=False)
    draft = asking.draft(CALL, BAR, PRESET, PRESET.knobs, None)
    job = asking.job(CALL, BAR, PRESET, PRESET.knobs, None)
    assert draft.draft
    assert draft.seed == job.seed
    assert asking.job(CALL, BAR, PRESET, PRESET.knobs, None).seed != job.seed


def test_a_job_anew_has_its_seed_unless_chance_begins_anew() -> None:
    asking = Asking(7, hears=False)
    job = asking.job(CALL, BAR, PRESET, PRESET.knobs, None)
    again = asking.anew(job, BAR + 480, 480, PRESET.knobs, "other", seed=False)
    assert (again.seed, again.target, again.since, again.model) == (job.seed, BAR + 480, 480, "other")
    assert asking.anew(job, BAR, 0, PRESET.knobs, "other", seed=True).seed != job.seed


def test_a_given_loop_waits_for_loops_of_its_length() -> None:
    asking = Asking(0, hears=False)
    asking.given = CALL
    assert asking.offered(PRESET) == CALL
    assert asking.asks(PRESET, heard=False)
    assert asking.offered(PRESET.changed(bars=2)) is None
    assert not asking.asks(PRESET.changed(bars=2), heard=False)


def test_silence_is_answered_by_a_blend_alone() -> None:
    asking = Asking(0, hears=False)
    blend = PRESET.changed(mode="blend")
    asking.memory.hear(CALL)
    assert not asking.asks(blend, heard=False)
    asking.memory.store("a")
    asking.memory.store("b")
    assert asking.asks(blend, heard=False)
    assert not asking.asks(PRESET, heard=False)


def test_an_answer_to_the_same_call_continues_from_the_same_past() -> None:
    asking = Asking(0, hears=False)
    preset = PRESET.changed(mode="continue")
    asking.memory.hear(CALL)
    first = asking.job(CALL, BAR, preset, preset.knobs, None)
    asking.memory.hear(Loop(BAR, (Note(0, 62, 100),)))
    assert asking.job(CALL, BAR, preset, preset.knobs, first).past == first.past
    assert asking.job(CALL, BAR, preset, preset.knobs, None).past != first.past


def test_the_model_is_shown_nothing_twice() -> None:
    asking = Asking(0, hears=True)
    assert asking.told(CALL, PRESET.knobs) is not None
    assert asking.told(CALL, PRESET.knobs) is None


# ---- a stop that may be none -------------------------------------------------------------------------------------


def test_answers_that_come_while_it_is_stopped_wait() -> None:
    halt = Halt()
    whole, rest = Answer(CALL, BAR, 0), Answer(CALL, BAR, 0, part="last")
    assert not halt.keep(whole)
    halt.begin(1.0)
    assert not halt.keep(rest)  # its beginning was played before
    assert halt.keep(whole)
    assert halt.keep(rest)
    assert not halt.over(4.9)
    assert halt.over(5.1)
    assert halt.end() == [whole, rest]
    assert not halt.lasts
    assert halt.end() == []


# ---- clips ----------------------------------------------------------------------------------------------------------


def test_a_clip_waits_for_the_last_part_of_its_answer() -> None:
    begun = Begun(Asked(Job(CALL, "vary", 0, BAR, 0), 0.0, 0.0, BAR), 0.0, "answer")
    keeping = Keeping()
    assert [k.number for k in keeping.keep(0.0, (CALL, CALL), PRESET, 120.0, begun)] == [1]
    assert keeping.due(1.0, begun) == []
    longer = CALL.with_notes((*CALL.notes, Note(1440, 67, 100)))
    keeping.extend(begun, longer)
    (kept,) = keeping.due(1.0, None)
    assert (kept.loop, kept.number, kept.count) == (longer, 2, 2)
    assert keeping.due(2.0, None) == []


def test_a_clip_does_not_wait_for_ever() -> None:
    begun = Begun(Asked(Job(CALL, "vary", 0, BAR, 0), 0.0, 0.0, BAR), 0.0, "answer")
    keeping = Keeping()
    assert keeping.keep(0.0, (CALL,), PRESET, 120.0, begun) == []
    assert len(keeping.due(4.0, begun)) == 1


# ---- rounds ---------------------------------------------------------------------------------------------------------


def test_a_loop_is_prepared_earlier_if_there_is_something_to_ask() -> None:
    transport, pace = clock(), Pace()
    rounds = Rounds(transport, Options(), pace)
    assert rounds.enter(480) == 0
    boundary = transport.time_at(BAR)
    early = PRE_ROLL * BEAT_S / 480
    assert abs(boundary - rounds.due_at(captures=False, asks=True) - early) < 1e-9
    assert abs(boundary - rounds.due_at(captures=True, asks=False) - early) < 1e-9
    assert abs(boundary - rounds.due_at(captures=True, asks=True) - pace.warm.seconds) < 1e-9
    assert rounds.advance() == (1, BAR)
    assert rounds.advance() == (2, 2 * BAR)


def test_one_draft_is_asked_for_each_loop() -> None:
    pace = Pace()
    rounds = Rounds(clock(), Options(), pace)
    rounds.enter(0)
    assert rounds.draft_at(5.0, captures=True, asks=True) == 5.0 - pace.draft_s
    assert rounds.draft_at(5.0, captures=True, asks=False) is None
    rounds.drafted()
    assert rounds.draft_at(5.0, captures=True, asks=True) is None
    rounds.advance()
    assert rounds.draft_at(7.0, captures=True, asks=True) == 7.0 - pace.draft_s


# ---- the first loop -------------------------------------------------------------------------------------------------


def test_what_is_struck_with_the_end_of_the_first_loop_belongs_to_the_next() -> None:
    song = Song(Options(clock="player"), PRESET)
    transport = song.transport
    for beat in range(4):
        transport.hear(beat * BEAT_S, on(60 + beat))
        transport.hear(beat * BEAT_S + 0.4, off(60 + beat))
    assert song.opening.is_open
    transport.hear(1.99, on(72))
    out = Output()
    assert list(song.opening.press(2.0, "close", out)) == [Change.ROLLED]
    assert isinstance(song.opening.news(), LoopClosed)
    assert song.opening.news() is None
    first = song.opening.take(BAR)
    assert first is not None
    assert [message[1] for _, message in first.call if midi.is_note_on(message)] == [60, 61, 62, 63]
    assert first.later == [(BAR, on(72))]
    assert song.opening.answered(BAR)
    song.opening.forget()
    assert not song.opening.answered(BAR)


def test_there_is_nothing_to_close_before_the_first_note_and_with_another_clock() -> None:
    out = Output()
    assert list(Song(Options(clock="player"), PRESET).opening.press(0.0, "close", out)) == []
    assert out.notices == [NothingToClose()]
    opening = Opening(clock())
    assert list(opening.press(0.0, "close", out)) == []
    assert len(out.notices) == 1
    assert opening.take(BAR) is None


# ---- the song's time ------------------------------------------------------------------------------------------------


def test_a_second_clock_is_reported_and_moves_nothing() -> None:
    song, out = Song(Options(), PRESET), Output()
    assert list(song.hear(0.0, 0, START, out)) == []
    assert list(song.hear(0.02, 0, CLOCK, out)) == [Change.ROLLED]
    assert list(song.hear(0.03, 1, STOP, out)) == []
    assert out.notices == [ForeignClock(1)]
    assert song.transport.state is State.ROLLING


def test_a_clock_without_start_is_told_once() -> None:
    song, out = Song(Options(), PRESET), Output()
    for i in range(200):
        list(song.hear(i / 48, 0, CLOCK, out))
    assert [type(n) for n in out.notices] == [NoStart]


# ---- capture --------------------------------------------------------------------------------------------------------


def test_input_is_placed_where_it_was_played() -> None:
    capture = Capture(clock(), gestures=True)
    capture.begin(0)
    capture.add(0.502, on(60))
    capture.add(1.002, off(60))
    capture.place(-PRE_ROLL)
    loop = capture.take(drums=False)
    assert loop is not None
    assert loop.notes == (Note(480, 60, 480),)
    assert capture.take(drums=False) is None


def test_drums_are_not_kept_apart() -> None:
    for drums in (False, True):
        capture = Capture(clock(), gestures=True)
        capture.begin(0)
        for channel in (0, 1):
            capture.add(0.002, bytes((0x90 | channel, 60 + channel, 80)))
        capture.place(-PRE_ROLL)
        loop = capture.take(drums=drums)
        assert loop is not None
        assert loop.hand.apart is not drums


# ---- what goes out --------------------------------------------------------------------------------------------------


def test_notes_are_due_and_end_with_what_sounds() -> None:
    transport = clock()
    sound = Sound(transport, Options(), 0, Layers(Answers()))
    sound.play(CALL, 0, 0, 0.5)
    assert sound.next_at() == transport.time_at(0)
    assert sound.due(0.01) == [midi.note_on(0, 60, 80)]
    assert sound.end() == [midi.note_off(0, 60)]
    assert sound.due(10.0) == []


def test_what_a_crash_left_is_ended_again_when_the_song_rolls() -> None:
    sound = Sound(clock(), Options(), 0, Layers(Answers()))
    ends = sound.take_over(Left(((0, 60),), ()))
    assert ends == [midi.note_off(0, 60)]
    assert sound.again() == ends
    assert sound.again() == []


def test_what_a_crash_left_is_ended_when_the_output_is_back() -> None:
    sound = Sound(clock(), Options(), 0, Layers(Answers()))
    sound.unplug()
    assert sound.take_over(Left(((0, 60),), ())) == []
    assert sound.again() == []
    assert midi.note_off(0, 60) in sound.plug()
