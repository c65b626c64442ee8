"""Live by way of AbletonOSC, against a stand-in that does what the script was measured to do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.events import Event, Given, Pressed, Turned
from rtgen.instrument.parameters import PARAMETERS, SCALES
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from rtgen.rig.ableton import live_set, slots
from rtgen.rig.ableton.live_set import MISSING, WAITING, Facts, LiveSet, Wants, preset_named, scale_called
from rtgen.rig.ableton.script import Script, UnansweredError
from rtgen.rig.ableton.slots import Clip
from rtgen.rig.ableton.variations import variations
from rtgen.rig.daemon import Daemon
from rtgen.rig.told.packet import datagram
from rtgen.rig.told.steward import House, Steward
from tests import untrusted
from tests.instrument.stage import BAR, CALL, HEARD, started
from tests.rig.fake_live import FakeClip, FakeLive, Wire

SCENES = 40
BAD_WIRE = Wire(lost=0.1, delayed=0.2, delay_s=0.03, reordered=True)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def script_of(live: FakeLive, patience_s: float = 0.05) -> Script:
    return Script(lambda said: None, live.port, live.reply_port, patience_s)


def some_loop(random: Random, bars: int = 2, notes: int = 24) -> Loop:
    length = bars * 1920
    found = (
        Note(
            random.randrange(-20, length - 1), random.randrange(128), random.randrange(1, 960), random.randrange(1, 128)
        )
        for _ in range(notes)
    )
    return Loop(length, tuple(found)).monophonic_by_pitch()


def as_written(loop: Loop) -> list[tuple[int, int, int, int]]:
    return sorted((max(n.onset, 0), n.pitch, n.duration, n.velocity) for n in loop.notes)


def as_found(clip: FakeClip) -> list[tuple[int, int, int, int]]:
    assert not any(mute for *_, mute in clip.notes)
    return sorted((round(s * PPQN), p, round(d * PPQN), round(v)) for p, s, d, v, _ in clip.notes)


def keep_many(count: int, wire: Wire, poll_s: float, seed: int) -> tuple[FakeLive, dict[str, Loop]]:
    """Keeps so many loops; returns the fake as it is in the end, and what was kept by name."""
    random = Random(seed)
    kept: dict[str, Loop] = {}
    with FakeLive(
        poll_s, scenes=count + 4, wire=wire, seed=seed, reply_port=free_port(), slow=wire is BAD_WIRE
    ) as live:
        live.add(1, 2, FakeClip(8.0, "the player's own", [(60, 0.0, 1.0, 100.0, False)]))
        script = script_of(live, 0.012 if wire is BAD_WIRE else 1.0)
        after = 0
        for number in range(count):
            loop = some_loop(random, bars=random.choice((1, 2, 4)), notes=random.choice((1, 24, 60)))
            kept[f"{number}"] = loop
            after = slots.write(script, Clip(loop, f"{number}"), 1, after, count + 4) + 1
        script.close()
    return live, kept


def check(live: FakeLive, kept: dict[str, Loop]) -> None:
    """None is lost, none doubled, all notes are equal, and the player's own clip is as it was."""
    found = [clip for clip in live.tracks[1].slots if clip is not None]
    own = found.pop(2)
    assert (own.name, own.notes) == ("the player's own", [(60, 0.0, 1.0, 100.0, False)])
    assert [clip.name for clip in found] == list(kept)
    assert not any(live.tracks[0].slots)
    for clip in found:
        loop = kept[clip.name]
        assert as_found(clip) == as_written(loop)
        assert (clip.length, clip.loop_start, clip.loop_end) == (loop.length / PPQN, 0.0, loop.length / PPQN)
        assert clip.looping


def test_kept_answers_lie_in_the_next_free_slots() -> None:
    live, kept = keep_many(6, Wire(), 0.005, 1)
    check(live, kept)
    assert live.errors == []


def test_on_a_wire_that_loses_and_reorders_none_is_lost_and_none_doubled() -> None:
    check(*keep_many(12, BAD_WIRE, 0.005, 2))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_a_thousand_none_is_lost_and_none_doubled() -> None:
    check(*keep_many(1000, BAD_WIRE, 0.002, 3))


def test_the_highest_pitch_is_written_and_read_though_the_script_leaves_it_out() -> None:
    loop = Loop(1920, (Note(0, 127, 480, 90), Note(0, 0, 480, 90)))
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        script = script_of(live)
        assert slots.write(script, Clip(loop, "high"), 1, 0, SCENES) == 0
        assert slots.read(script, (1, 0), 1920) == (loop, "high")
        script.close()
    clip = live.tracks[1].slots[0]
    assert clip is not None
    assert as_found(clip) == as_written(loop)


def test_many_notes_are_read_back_in_parts() -> None:
    loop = Loop(15360, tuple(Note(10 * i, i % 128, 9, 1 + i % 127) for i in range(1500)))
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        script = script_of(live)
        slots.write(script, Clip(loop, "many"), 1, 0, SCENES)
        with pytest.raises(UserError, match="2001 notes are more"):
            slots.write(script, Clip(Loop(9000, tuple(Note(i, 60, 1) for i in range(2001))), "more"), 1, 0, SCENES)
        script.close()
    clip = live.tracks[1].slots[0]
    assert clip is not None
    assert as_found(clip) == as_written(loop)
    assert live.tracks[1].slots[1] is None


def test_a_clip_with_many_notes_is_read_and_of_one_with_too_many_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        script = script_of(live)
        for slot, count in enumerate((2000, 2300)):
            notes = [(i % 128, i / 80, 0.02, 80.0, False) for i in range(count)]
            live.add(0, slot, FakeClip(32.0, "many", notes))
        loop, _ = slots.read(script, (0, 0), 1920)
        monkeypatch.setattr(Script.until, "__defaults__", (0.5,))
        with pytest.raises(UserError, match="shorten its loop"):
            slots.read(script, (0, 1), 1920)
        script.close()
    assert len(loop) == 2000


def test_a_loop_without_notes_is_an_empty_clip() -> None:
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        script = script_of(live)
        slots.write(script, Clip(Loop(1920), "nothing"), 1, 0, SCENES)
        script.close()
    clip = live.tracks[1].slots[0]
    assert clip is not None
    assert (clip.name, clip.notes) == ("nothing", [])


def test_where_no_slot_is_free_it_says_so_and_touches_nothing() -> None:
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        for scene in range(SCENES):
            live.add(1, scene, FakeClip(4.0, f"own {scene}"))
        script = script_of(live)
        with pytest.raises(UserError, match="no slot is free"):
            slots.write(script, Clip(Loop(1920), "x"), 1, 5, SCENES)
        live.tracks[1].slots[3] = None
        assert slots.write(script, Clip(Loop(1920), "x"), 1, 5, SCENES) == 3
        script.close()
    assert [clip.name for clip in live.tracks[1].slots if clip] == [
        f"own {n}" if n != 3 else "x" for n in range(SCENES)
    ]


def test_who_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Script.get.__kwdefaults__, "within_s", 0.1)
    script = Script(lambda said: None, free_port(), free_port(), patience_s=0.01)
    with pytest.raises(UnansweredError):
        slots.write(script, Clip(Loop(1920), "x"), 1, 0, SCENES)
    script.close()


def test_one_program_at_a_time_can_speak_with_it() -> None:
    port = free_port()
    first = Script(lambda said: None, free_port(), port)
    with pytest.raises(UserError, match=f"port {port}, on which Live answers, is taken"):
        Script(lambda said: None, free_port(), port)
    first.close()


def test_what_others_send_is_not_heard() -> None:
    heard: list[object] = []
    port = free_port()
    script = Script(heard.append, free_port(), port, patience_s=0.01)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"/live/song/get/tempo\0\0\0\0,f\0\0\x42\xc8\0\0", ("127.0.0.1", port))
        assert script.listen(0.5) == []
    script.close()
    assert heard == []


# ---- the thread -----------------------------------------------------------------------------------------------------


class Player:
    """What a player is told, and what the instrument hears."""

    def __init__(self, live: FakeLive, **wants: Any) -> None:
        self.said: list[str] = []
        self.heard: list[Event] = []
        self.chosen: list[str] = []
        ports = {"script_port": live.port, "reply_port": live.reply_port, "patience_s": 0.05}
        self.preset = Preset(name="vary")
        self.live = LiveSet(
            Wants(**{**ports, **wants}),
            self.heard.append,
            self.said.append,
            self.choose,
            lambda: self.preset,
            self.vary,
        )

    def choose(self, name: str) -> str | None:
        self.chosen.append(name)
        if name == "nothing":
            return "there is no preset called 'nothing'"
        self.preset = Preset(name=name, bars=1)
        return None

    def vary(self, loop: Loop) -> Iterator[Loop]:
        for up in range(1, 5):
            yield loop.with_notes(replace(n, pitch=min(n.pitch + up, 127)) for n in loop.notes)

    def told(self, word: str) -> str:
        """Waits until a sentence with a word comes, and returns it."""
        return wait_until(lambda: next((line for line in self.said if word in line), None))


def wait_until(found: Callable[[], Any], seconds: float = 20.0) -> Any:
    ends = time.perf_counter() + seconds
    while not (value := found()):
        assert time.perf_counter() < ends, "it never happened"
        time.sleep(0.01)
    return value


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live is asked whether it is there ten times as often, and not given up while the machine stands still."""
    monkeypatch.setattr(live_set, "_ALIVE_S", 0.2)
    monkeypatch.setattr(live_set, "_MISSED", 20)


def test_what_is_kept_lands_in_the_track_that_hears_rtgen(quick: None) -> None:
    loop = some_loop(Random(5))
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        with player.live:
            assert player.told("Live answers") == "Live answers: 97.5 BPM, 4/4, C Major, stopped"
            for _ in range(3):
                assert player.live.keep(loop, "vary, A minor, 2 bars")
            assert player.told("slot 3") == "in Live: track answers, slot 3: vary, A minor, 2 bars"
    found = [clip for clip in live.tracks[1].slots if clip]
    assert [as_found(clip) for clip in found] == [as_written(loop)] * 3
    assert [clip.fired for clip in found] == [0, 0, 0]


def test_who_speaks_with_live_is_not_stopped_by_other_programs(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(live_set, "answer_promptly", lambda: asked.append(threading.current_thread().name))
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        with player.live:
            player.told("Live answers")
    assert asked == ["live"]


def test_a_kept_answer_is_launched_if_that_is_wanted(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live, track="KEYS", fires=True)
        with player.live:
            player.told("Live answers")
            player.live.keep(some_loop(Random(6)), "x")
            assert player.told("in Live") == "in Live: track keys, slot 1: x, launched"
    clip = live.tracks[0].slots[0]
    assert clip is not None
    assert clip.fired == 1


@pytest.mark.parametrize("wire", [Wire(), BAD_WIRE])
def test_all_answers_to_a_call_land_beneath_each_other(quick: None, tmp_path: Path, wire: Wire) -> None:
    # A session is asked for another answer three times; then one that was gone back to is kept, and then all of them.
    stage = started(use="hold")
    stage.until(BAR + 100, CALL)
    for up in (13, 14, 15):
        stage.up = up
        stage.step(stage.time(stage.tick), Pressed("regenerate"))
        stage.until(stage.tick + 480)
    for button in ("back", "back", "keep", "keep_all"):
        stage.step(stage.time(stage.tick), Pressed(button))
    with FakeLive(wire=wire, seed=4, reply_port=free_port(), slow=wire is BAD_WIRE) as live:
        live.add(1, 2, FakeClip(4.0, "own"))
        player = Player(live, fires=True)
        steward = Steward(cast(Daemon, None), House(tmp_path / "config.yaml", ("keys",), tmp_path))
        steward.live = player.live
        with player.live:
            player.told("Live answers")
            for request in stage.requests:
                steward.see_to(request)
            player.told("4 of 4")
    first, *others = (f"default, {key} major, 1 bar" for key in ("C", "Db", "D", "Eb"))
    assert [clip.name if clip else "" for clip in live.tracks[1].slots] == [
        others[0],
        f"{first}, 1 of 4",
        "own",
        *(f"{name}, {n} of 4" for n, name in enumerate(others, 2)),
        "",
        "",
    ]
    found = [as_found(clip) for clip in live.tracks[1].slots if clip and clip.name != "own"]
    assert found == [[(t, pitch + up, d, 80) for t, pitch, d in HEARD] for up in (1, 0, 1, 2, 3)]
    assert [clip.fired > 0 for clip in live.tracks[1].slots if clip] == [True, *[False] * 5]
    assert len(list(tmp_path.glob("*.mid"))) == 5


@pytest.mark.parametrize(
    ("wants", "sentence"),
    [
        ({"track": "bass"}, "Live: no track is called bass; rename one, or name another with --live-track"),
        (
            {"port": "other out"},
            (
                "Live: no track takes its MIDI from other out, and none is called rtgen; choose other out as MIDI From "
                "of the track that answers, or name it with --live-track"
            ),
        ),
    ],
)
def test_where_no_track_answers_it_says_what_to_do(quick: None, wants: dict[str, Any], sentence: str) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live, **wants)
        with player.live:
            player.told("Live answers")
            player.live.keep(Loop(1920), "x")
            assert player.told("no track") == sentence


def test_without_live_one_sentence_says_what_to_do_and_it_connects_by_itself(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_set, "_MISSED", 2)
    port, reply = free_port(), free_port()
    with FakeLive(port=port, reply_port=reply) as live:
        player = Player(live)
    with player.live:
        assert player.told("Live does not answer") == MISSING
        assert not player.live.keep(Loop(1920), "x")
        with FakeLive(port=port, reply_port=reply) as live:
            player.told("Live answers")
            live.set("tempo", 120.0)
            wait_until(lambda: player.live.facts.tempo == 120.0)
        player.told("does not answer any more")
        with FakeLive(port=port, reply_port=reply) as live:
            wait_until(lambda: player.live.there)
            wait_until(lambda: player.live.facts.tempo == 97.5)
    assert [line for line in player.said if line == MISSING] == [MISSING]


def test_where_another_program_has_the_port_it_says_so_and_waits(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        other = script_of(live)
        player = Player(live)
        with player.live:
            player.told("only one program at a time")
            other.close()
            player.told("Live answers")


def test_another_set_is_listened_to_anew(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        with player.live:
            player.told("Live answers")
            with live.lock:
                live.open_set()
            wait_until(lambda: "tempo" in live.listens)
            live.set("tempo", 88.0)
            wait_until(lambda: player.live.facts.tempo == 88.0)


LIVES_SCALES = [
    "Major",
    "Minor",
    "Dorian",
    "Mixolydian",
    "Lydian",
    "Phrygian",
    "Locrian",
    "Whole Tone",
    "Half-whole Dim.",
    "Whole-half Dim.",
    "Minor Blues",
    "Minor Pentatonic",
    "Major Pentatonic",
    "Harmonic Minor",
    "Harmonic Major",
    "Dorian #4",
    "Phrygian Dominant",
    "Melodic Minor",
    "Lydian Augmented",
    "Lydian Dominant",
    "Super Locrian",
    "8-Tone Spanish",
    "Bhairav",
    "Hungarian Minor",
    "Hirajoshi",
    "In-Sen",
    "Iwato",
    "Kumoi",
    "Pelog Selisir",
    "Pelog Tembung",
    "Messiaen 3",
    "Messiaen 4",
    "Messiaen 5",
    "Messiaen 6",
    "Messiaen 7",
]


def test_each_scale_of_live_is_one_of_the_knob() -> None:
    names = [scale_called(name) for name in LIVES_SCALES]
    assert None not in names
    assert set(names) == set(SCALES) - {"auto", "minor", "chromatic"}
    assert names[:3] == ["major", "natural_minor", "dorian"]
    assert [scale_called(name) for name in ("", "auto", "Auto", "My Own", "minor", "x" * 9000)] == [
        *[None] * 4,
        "natural_minor",
        None,
    ]


def test_key_and_scale_follow_live_once_a_scale_was_chosen(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        with player.live:
            player.told("Live answers: 97.5 BPM, 4/4, C Major")
            assert player.heard == []
            live.set("scale_name", "Dorian")
            assert player.told("follow") == "Live is in C Dorian: key and scale follow"
            live.set("root_note", 2)
            player.told("Live is in D Dorian")
            assert player.heard[-2:] == [Turned("key", 3.0), Turned("scale", PARAMETERS["scale"].check("dorian"))]
            live.set("root_note", 0)
            live.set("scale_name", "Major")
            player.told("Live is in C Major")
            assert player.heard[-2:] == [Turned("key", 1.0), Turned("scale", PARAMETERS["scale"].check("major"))]
            count = len(player.heard)
            live.set("scale_name", "My Own")
            player.told("Live is in C My Own, a scale that rtgen does not know: only the key follows")
            assert player.heard[count:] == [Turned("key", 1.0)]


def test_a_set_with_a_scale_steers_from_the_start(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.song.update(root_note=9, scale_name="Minor")
        player = Player(live)
        with player.live:
            player.told("Live answers: 97.5 BPM, 4/4, A Minor")
            assert player.heard == [Turned("key", 10.0), Turned("scale", PARAMETERS["scale"].check("natural_minor"))]


def test_however_often_live_says_another_key_the_instrument_follows_a_few_times_and_to_the_last(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.set("scale_name", "Minor")
        player = Player(live)
        with player.live:
            player.told("Live answers")
            player.told("follow")
            before, began = len(player.heard), time.perf_counter()
            for number in range(600):
                live.set("root_note", number % 12)
                time.sleep(0.001)
            live.set("root_note", 7)
            wait_until(lambda: player.heard[-2:-1] == [Turned("key", 8.0)])
            took = time.perf_counter() - began
    assert len(player.heard) - before <= 2 * (took / 0.2 + 1)


def test_what_no_set_can_say_is_not_believed() -> None:
    facts = Facts()
    for name, value in (
        ("tempo", float("nan")),
        ("tempo", True),
        ("tempo", -4.0),
        ("root_note", 12),
        ("root_note", 1.0),
        ("scale_name", 7),
        ("scale_name", "x" * 99),
        ("signature_numerator", 0),
        ("is_playing", "yes"),
        ("anything", 1),
    ):
        assert facts.changed(name, value) == facts
    assert facts.changed("scale_name", "a\x1bb").scale_name == "a?b"


def test_no_more_clips_wait_than_there_is_room_for(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        with player.live:
            player.told("Live answers")
            with live.lock:  # it stands still
                taken = [player.live.keep(Loop(1920), str(n)) for n in range(WAITING + 5)]
            assert taken.count(False) in (4, 5)  # one may have been begun


def test_what_goes_wrong_with_one_clip_stays_with_it(quick: None) -> None:
    def broken(loop: Loop) -> Iterator[Loop]:
        raise RuntimeError("a defect")
        yield loop

    with FakeLive(reply_port=free_port()) as live:
        live.add(0, 0, FakeClip(4.0, "riff", [(60, 0.0, 0.5, 100.0, False)]))
        player = Player(live)
        player.live._vary = broken
        with player.live:
            player.told("Live answers")
            assert player.live.vary_clip()
            assert player.live.keep(Loop(1920), "x")
            assert player.told("begun anew") == "speaking with Live failed (RuntimeError('a defect')); it is begun anew"
            player.told("slot 1: x")


def test_what_live_says_is_told_to_the_doctor(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        player = Player(live)
        assert player.live.told() == {"there": False, "says": "stopped", "tracks": []}
        with player.live:
            player.told("Live answers")
            tracks = wait_until(lambda: player.live.told()["tracks"])
            said = player.live.told()["says"]
    assert tracks == [{"name": "answers", "hears": True, "plays": False, "monitor": "In", "armed": False}]
    assert said == "97.5 BPM, 4/4, C Major, stopped"


# ---- clips that come in ---------------------------------------------------------------------------------------------

RIFF = [(60, 0.0, 0.5, 100.0, False), (64, 1.0, 0.5, 90.0, False), (67, 1.5, 2.0, 80.0, True)]
AS_LOOP = (Note(0, 60, 240, 100), Note(480, 64, 240, 90))


def test_the_selected_clip_is_answered(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.add(0, 3, FakeClip(8.0, "riff", RIFF))
        live.select(0, 3)
        player = Player(live)
        with player.live:
            player.told("Live answers")
            assert player.live.answer_clip()
            assert player.told("answered next") == "the clip riff is answered next, 2 notes"
    assert player.heard == [Given(Loop(3840, AS_LOOP))]
    assert player.chosen == []


def test_a_short_clip_goes_round_and_a_long_one_is_cut(quick: None) -> None:
    long = FakeClip(16.0, "long", [*RIFF, (72, 7.5, 4.0, 70.0, False), (74, 8.0, 1.0, 70.0, False)])
    shifted = FakeClip(2.0, "", [(p, s + 4, d, v, m) for p, s, d, v, m in RIFF], loop_start=4.0, loop_end=6.0)
    with FakeLive(scenes=SCENES, reply_port=free_port()) as live:
        script = script_of(live)
        live.add(0, 0, long)
        live.add(0, 1, shifted)
        cut, _ = slots.read(script, (0, 0), 1920, 3840)
        again, _ = slots.read(script, (0, 1), 1920, 3840)
        whole, _ = slots.read(script, (0, 0), 1920)
        script.close()
    assert cut == Loop(3840, (*AS_LOOP, Note(3600, 72, 240, 70)))
    assert again == Loop(3840, tuple(replace(n, onset=n.onset + at) for at in range(0, 3840, 960) for n in AS_LOOP))
    assert whole == Loop(7680, (*AS_LOOP, Note(3600, 72, 1920, 70), Note(3840, 74, 480, 70)))


@pytest.mark.parametrize(
    ("clip", "sentence"),
    [
        (None, "Live: no clip is selected in Live; click a MIDI clip, and press the button again"),
        (
            FakeClip(4.0, is_midi_clip=False),
            "Live: the clip that is selected in Live is an audio clip; click a MIDI clip",
        ),
        (FakeClip(4.0), "Live: the clip that is selected in Live has no notes; click another one"),
        (FakeClip(4.0, loop_start=4.0), "Live: the clip that is selected in Live has no length; click another one"),
        (
            FakeClip(4.0, loop_start=float("nan")),
            "Live: Live does not say where the loop of the selected clip begins and ends; click another one",
        ),
    ],
)
def test_a_clip_that_cannot_be_answered_is_a_sentence(quick: None, clip: FakeClip | None, sentence: str) -> None:
    with FakeLive(reply_port=free_port()) as live:
        if clip is not None:
            live.add(0, 0, clip)
        player = Player(live)
        with player.live:
            player.told("Live answers")
            player.live.answer_clip()
            assert player.told("Live: ") == sentence
    assert player.heard == []


def test_a_clip_may_choose_the_preset_that_answers_it(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.add(0, 0, FakeClip(8.0, "riff [rtgen shadow]", RIFF))
        player = Player(live)
        with player.live:
            player.told("Live answers")
            player.live.answer_clip()
            player.told("answered next")
    assert player.chosen == ["shadow"]
    assert player.heard == [Given(Loop(1920, AS_LOOP))]  # as long as that preset's loops


def test_a_scene_may_choose_a_preset_when_it_is_selected(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.scenes[:4] = ["[rtgen clean]", "Verse", "Chorus [rtgen shadow]", "[rtgen nothing]"]
        player = Player(live)
        with player.live:
            player.told("Live answers")
            for scene in (1, 2):
                live.select(0, scene)
                wait_until(lambda scene=scene: any(v == (scene,) for a, v in live.told if "selected_scene" in a))
            wait_until(lambda: player.chosen == ["shadow"])
            live.select(0, 3)
            assert player.told("nothing") == "Live: there is no preset called 'nothing'"
    assert player.chosen == ["shadow", "nothing"]


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("[rtgen vary]", "vary"),
        ("Verse [rtgen my preset] x", "my preset"),
        ("rtgen vary", None),
        ("[rtgen ]", None),
        ("[rtgen [x]]", None),
        (f"[rtgen {'x' * 99}]", None),
        (7, None),
        (None, None),
    ],
)
def test_a_name_chooses_a_preset_only_if_it_says_so(name: object, preset: str | None) -> None:
    assert preset_named(name) == preset


def test_four_variations_land_beneath_the_clip(quick: None) -> None:
    with FakeLive(reply_port=free_port()) as live:
        live.add(0, 1, FakeClip(4.0, "riff", RIFF))
        live.add(0, 3, FakeClip(4.0, "own"))
        live.select(0, 1)
        player = Player(live)
        with player.live:
            player.told("Live answers")
            assert player.live.vary_clip()
            assert player.told("variations") == "variations of riff are in slots 3, 5, 6, 7"
    names = [clip.name if clip else "" for clip in live.tracks[0].slots]
    assert names == ["", "riff", "riff, vary 1", "own", "riff, vary 2", "riff, vary 3", "riff, vary 4", ""]
    second = live.tracks[0].slots[4]
    assert second is not None
    assert as_found(second) == [(0, 62, 240, 100), (480, 66, 240, 90)]


@pytest.mark.parametrize(
    "row",
    [
        (60, float("nan"), 1.0, 9.0, False),
        (60, 0.0, float("inf"), 9.0, False),
        (60, 1e308, 1.0, 9.0, False),
        (200, 0.0, 1.0, 9.0, False),
        (-1, 0.0, 1.0, 9.0, False),
        (True, 0.0, 1.0, 9.0, False),
        ("C3", 0.0, 1.0, 9.0, False),
        (60, None, 1.0, 9.0, False),
        (60, 0.0, 1.0, 9.0, True),
    ],
)
def test_a_note_that_cannot_be_is_left_out_alone(row: tuple[Any, ...]) -> None:
    good = (62, 1.0, -3.0, 999.0, False)
    assert slots._read((0, 1, *row, *good), (0, 1)) == [(480, 62, 1, 127)]
    assert slots._read((0, 2, *row, *good), (0, 1)) is None
    assert slots._read((0, 1, *row[:-1]), (0, 1)) is None


def test_variations_are_made_by_the_presets_model() -> None:
    loop = Loop(1920, tuple(Note(t, 60 + t // 240, 200, 80) for t in range(0, 1920, 240)))
    preset = Preset(model=str(Path(__file__).parents[1] / "data" / "tiny.onnx"))
    first, again = (list(variations(loop, preset, {**preset.knobs, "distance": 0.9}, seed=5)) for _ in range(2))
    assert len(first) == 4
    assert first == again
    assert all(each.length == 1920 and each.notes for each in first)
    assert len({each.notes for each in first}) > 1


# ---- strangers that claim to be Live --------------------------------------------------------------------------------

WORDS = st.sampled_from(["Minor", "Dorian", "", "[rtgen vary]", "\x1b[2J", "\u202e", "x" * 80])
VALUES = st.one_of(st.booleans(), st.none(), st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1), st.floats(), WORDS)
ADDRESSES = st.sampled_from(
    [f"/live/song/get/{fact}" for fact in live_set.FACTS]
    + ["/live/startup", "/live/view/get/selected_scene", "/live/clip_slot/get/has_clip", "/live/clip/get/notes"]
    + [f"/live/clip/get/{each}" for each in ("is_midi_clip", "looping", "loop_start", "loop_end", "name")]
)
NOTES = st.tuples(st.integers(-9, 140), st.floats(-9, 99), st.floats(-9, 99), st.floats(-9, 200), st.booleans())
CLIP = st.lists(st.one_of(NOTES, st.tuples(*[VALUES] * 5)), max_size=6).map(
    lambda notes: ("/live/clip/get/notes", (0, 0, *(each for note in notes for each in note)))
)
A_CLIP = [
    ("/live/clip_slot/get/has_clip", (True,)),
    ("/live/clip/get/is_midi_clip", (True,)),
    ("/live/clip/get/looping", (True,)),
    ("/live/clip/get/loop_start", (0.0,)),
    ("/live/clip/get/loop_end", (8.0,)),
    ("/live/clip/get/name", ("riff",)),
]


@given(st.lists(st.one_of(st.tuples(ADDRESSES, st.lists(VALUES, max_size=3).map(tuple)), CLIP), max_size=12))
def test_whatever_claims_to_be_live_is_a_clip_or_a_sentence(said: list[tuple[str, tuple[Any, ...]]]) -> None:
    packets = [datagram(*each) for each in (*A_CLIP, *said)]
    untrusted.live(b"".join(bytes((len(data) // 4,)) + data for data in packets if len(data) < 1000))


@given(st.binary(max_size=400))
def test_no_bytes_that_claim_to_be_live_break_anything(data: bytes) -> None:
    untrusted.live(data)
