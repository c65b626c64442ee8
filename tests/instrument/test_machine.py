"""Whatever happens, in whatever order: a state machine over the session, and stories that a fuzzer found."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rtgen.instrument.clocks.transport import State
from rtgen.instrument.events import Chosen, Given, Learn, Plugged, Pressed, Turned, Used, Warmed
from rtgen.instrument.job import MODES
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES, Preset
from rtgen.music.note import Loop, Note
from tests.instrument.gestures import Story, read

PORTS = st.integers(0, 1)
MESSAGES = st.one_of(
    st.builds(lambda c, p, v: bytes((0x90 | c, p, v)), st.integers(0, 2), st.integers(58, 64), st.integers(0, 127)),
    st.builds(lambda c, p: bytes((0x80 | c, p, 0)), st.integers(0, 2), st.integers(58, 64)),
    st.builds(lambda c, v: bytes((0xB0 | c, 64, v)), st.integers(0, 2), st.sampled_from((0, 127))),
    st.builds(
        lambda n, v: bytes((0xB0, n, v)),
        st.sampled_from((1, 15, 16, 20, 23, 24, 25, 26, 85, 86, 88, 89, 120, 123)),
        st.integers(0, 127),
    ),
    st.builds(lambda a, b: bytes((0xF2, a, b)), st.integers(0, 127), st.integers(0, 127)),
    st.builds(lambda c, v: bytes((0xE0 | c, 0, v)), st.integers(0, 2), st.sampled_from((0, 64, 127))),
    st.builds(lambda c, v: bytes((0xD0 | c, v)), st.integers(0, 2), st.sampled_from((0, 99))),
    st.builds(
        lambda c, p, v: bytes((0xA0 | c, p, v)), st.integers(0, 2), st.integers(58, 64), st.sampled_from((0, 99))
    ),
    st.builds(
        lambda c, n, v: bytes((0xB0 | c, n, v)),
        st.integers(0, 2),
        st.sampled_from((11, 66, 67, 69, 74, 121)),
        st.sampled_from((0, 50, 64, 127)),
    ),
    st.just(b"\xf0" + bytes(200) + b"\xf7"),
)


TURNS = [Turned(p.name, value) for p in PARAMETERS.values() for value in (p.low, p.default, p.high)]
LEARNS = [Learn("distance"), Learn("mute"), Learn(None), Learn("blend", over=True)]


class Anything(RuleBasedStateMachine):
    """All that can happen to a session; `Story` holds every step against the rules."""

    @initialize(
        clock=st.integers(0, 2),
        offset_ms=st.sampled_from((0, 0, 30, -30)),
        ahead_ms=st.sampled_from((0, 5)),
        parts=st.booleans(),
    )
    def begin(self, clock: int, offset_ms: int, ahead_ms: int, parts: bool) -> None:
        self.story = Story(clock, offset_ms, ahead_ms, parts=parts)

    @rule(data=MESSAGES, port=PORTS)
    def message(self, data: bytes, port: int) -> None:
        self.story.hear(data, port)

    @rule(pitches=st.sets(st.integers(58, 64), min_size=1), port=PORTS)
    def chord(self, pitches: set[int], port: int) -> None:
        for pitch in pitches:
            self.story.hear(bytes((0x90, pitch, 80)), port)

    @rule(pitch=st.integers(58, 64), channel=st.integers(0, 2), value=st.sampled_from((30, 64)), port=PORTS)
    def bent_note(self, pitch: int, channel: int, value: int, port: int) -> None:
        for data in (
            bytes((0xE0 | channel, 0, value)),
            bytes((0x90 | channel, pitch, 80)),
            bytes((0xD0 | channel, value)),
            bytes((0xB0 | channel, 64, value)),
        ):
            self.story.hear(data, port)

    @rule(data=MESSAGES, cut=st.integers(0, 3), port=PORTS)
    def prefix(self, data: bytes, cut: int, port: int) -> None:
        self.story.hear(data[:cut], port)

    @rule(data=MESSAGES, at=st.integers(0, 3), byte=st.integers(0, 255), port=PORTS)
    def corruption(self, data: bytes, at: int, byte: int, port: int) -> None:
        self.story.hear(data[:at] + bytes((byte,)) + data[at + 1 :], port)

    @rule(byte=st.sampled_from((0xFA, 0xFB, 0xFC, 0xFF)), port=PORTS)
    def command(self, byte: int, port: int) -> None:
        self.story.hear(bytes((byte,)), port)

    @rule(count=st.integers(1, 120), period=st.sampled_from((0.0208333, 0.0208333, 0.01, 0.004)), port=PORTS)
    def clocks(self, count: int, period: float, port: int) -> None:
        for _ in range(count):
            self.story.hear(b"\xf8", port)
            self.story.wait(period)

    @rule(seconds=st.floats(0, 5))
    def wait(self, seconds: float) -> None:
        self.story.wait(seconds)

    @rule()
    def sleep(self) -> None:
        self.story.wait(3600.0)

    @rule(which=st.integers(0, 7), up=st.integers(0, 11))
    def answer(self, which: int, up: int) -> None:
        self.story.answer(which, up)

    @rule()
    def more_of_an_answer(self) -> None:
        self.story.more()

    @rule(
        use=st.sampled_from(USES),
        mode=st.sampled_from(MODES),
        bars=st.sampled_from((1, 1, 2)),
        metre=st.sampled_from(("1/4", "4/4", "7/8")),
    )
    def choose(self, use: str, mode: str, bars: int, metre: str) -> None:
        own = {"mode": mode} if use == "along" or mode == "accompany" else {"mode": mode, "use": use}
        self.story.tell(Chosen(Preset().changed(**own, bars=bars, metre=metre, channel=bars)))

    @rule(direction=st.sampled_from(("in", "out")), port=PORTS, there=st.booleans())
    def plug(self, direction: str, port: int, there: bool) -> None:
        self.story.tell(Plugged(direction, port, "port", there))  # type: ignore[arg-type]

    @rule(bars=st.sampled_from((1, 2)), bar=st.sampled_from((480, 1920)), pitches=st.sets(st.integers(58, 64)))
    def give(self, bars: int, bar: int, pitches: set[int]) -> None:
        self.story.tell(Given(Loop(bars * bar, tuple(Note(0, pitch, 240) for pitch in pitches), bar)))

    @rule(event=st.sampled_from([*map(Used, USES), *map(Pressed, BUTTONS), Warmed(0.3), *TURNS, *LEARNS]))
    def event(self, event: Used | Pressed | Warmed | Turned | Learn) -> None:
        self.story.tell(event)

    def teardown(self) -> None:
        if hasattr(self, "story"):
            self.story.end()


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=150, stateful_step_count=40)


@given(st.binary(max_size=300), st.integers(0, 2), st.sampled_from((0, 5)), st.booleans())
@settings(max_examples=200)
def test_any_bytes_are_a_story(data: bytes, clock: int, ahead_ms: int, parts: bool) -> None:
    read(Story(clock, ahead_ms=ahead_ms, parts=parts), data)


FOUND = [
    # The output goes while a note sounds, and the song ends before it is back.
    b"\x05" + bytes(7) + b"\x1f\x97\x97\x97\x97\x72\x2e\x3d",
]
"""What the fuzzer (`tests/fuzz.py`) found, and what was mended."""


@pytest.mark.parametrize("data", FOUND)
@pytest.mark.parametrize("clock", [0, 1, 2])
@pytest.mark.parametrize("ahead_ms", [0, 5])
@pytest.mark.parametrize("parts", [False, True])
def test_what_the_fuzzer_found(data: bytes, clock: int, ahead_ms: int, parts: bool) -> None:
    read(Story(clock, ahead_ms=ahead_ms, parts=parts), data)


def test_clocks_of_a_source_that_is_not_followed_keep_nothing_rolling() -> None:
    story = Story(0)
    story.hear(b"\xfa", 1)
    for port, count in ((1, 34), (0, 24)):
        for _ in range(count):
            story.hear(b"\xf8", port)  # holds that it is never woken in the past
            story.wait(0.0208333)
    assert story.session.transport.state is State.STOPPED


def test_a_silence_that_settles_a_message_in_doubt_is_the_end_of_the_clock_as_well() -> None:
    story = Story(0)
    story.hear(b"\xfa")
    for _ in range(120):
        story.hear(b"\xf8")
        story.wait(0.0208333)
    story.hear(b"\xfb")  # whose Continue it was, the clocks after it would tell
    assert story.session.transport.state is State.ROLLING
    story.wait(4000)  # the machine sleeps
    story.hear(b"\xfe")  # holds that it is never woken in the past
    assert story.session.transport.state is State.STOPPED


BREAKS = {
    "stop": b"\xfc",
    "locate": b"\xfc\xf2\x40\x00\xfb",  # alone, whose Song Position it is would be in doubt for some clocks
    "panic": Pressed("panic"),
    "mute": Pressed("mute"),
    "clear": Pressed("clear"),
    "silence": None,
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_note_that_was_sent_ahead_outlives_no_break(how: str) -> None:
    """It is so short that its end was sent ahead as well: of others the end at the break would be enough."""
    story = Story(0, ahead_ms=5)
    story.tell(Used("follow"))
    story.hear(b"\xfa")
    for clock in range(400):
        story.hear(b"\xf8")
        if clock == 4:
            story.hear(b"\x90\x3c\x50")
            story.wait(0.001)
            story.hear(b"\x80\x3c\x00")
        story.answer(0, 12)  # another pitch than that which goes through
        for _ in range(20):
            story.wait(0.0208333 / 20)
            if story.planned():
                break
        else:
            continue
        break
    story.wait(0.002)
    assert story.planned(), "no note was sent ahead"
    before = len(story.struck)
    happens = BREAKS[how]
    if happens is None:
        story.wait(5.0)  # no clock comes: the song ends after a beat
        assert story.struck[before:] != [], "what is due before that is played"
        return
    if isinstance(happens, bytes):
        story.hear(happens)
    else:
        story.tell(happens)
    story.wait(0.02)
    story.tell(None)
    assert story.struck[before:] == []
    story.end()
