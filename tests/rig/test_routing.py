"""Parts with outputs of their own: whatever happens, a part's notes leave by its output, and end there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.events import Chosen, Event, Left, Planned, Plugged, Pressed, Received, Turned
from rtgen.instrument.job import HalfBeat
from rtgen.instrument.options import Options
from rtgen.instrument.preset import Preset
from rtgen.instrument.session import Session
from rtgen.music import midi
from rtgen.music.parts import CHANNELS, PARTS
from rtgen.rig.daemon import Daemon
from rtgen.rig.midi import system_ports
from rtgen.rig.midi.ports import LoopbackPorts
from rtgen.rig.midi.routing import Routing
from rtgen.rig.midi.system_ports import SystemPorts
from rtgen.rig.midi.ways import Connection, Patch, title
from tests.instrument.bandmate import planned
from tests.instrument.ledger import check, sounding
from tests.rig.test_ports import Leaving

TINY = Path(__file__).parents[1] / "data" / "tiny.onnx"
BAND = Preset().changed(bars=1, metre="1/4", mode="accompany", second_mute=0, tempo=240)
MOVED = BAND.changed(bass_channel=3, comping_channel=2)
"""Another band, whose parts have taken each other's channel."""
LONE = Preset().changed(bars=1, metre="1/4", use="follow", tempo=240, channel=2)
"""Plays alone, on a channel that a part had."""


class Nobody:
    """A worker that only remembers what it was asked; the test plans in its place."""

    def __init__(self) -> None:
        self.halves: list[HalfBeat] = []

    def ask(self, wanted: object, _file: Path | None = None) -> None:
        if isinstance(wanted, HalfBeat):
            self.halves.append(wanted)

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: None


class Stage:
    """A daemon with an output for each part, and what leaves by each; time is what the test says it is."""

    def __init__(self, preset: Preset = BAND, certain: int = 1) -> None:
        self.sent: dict[str, list[bytes]] = {"": [], **{part: [] for part in PARTS}}
        main, *parts = ((lambda _, data, into=into: into.append(data)) for into in self.sent.values())
        ports = LoopbackPorts(main, dict(zip(PARTS, parts, strict=True)))
        self.session = Session(preset, Options(clock="internal", thru=True))
        self.daemon = Daemon(self.session, ports, TINY, "cpu", lambda _: None)
        self.worker = Nobody()
        self.daemon._worker = self.worker  # type: ignore[assignment]
        self.daemon._files |= {each.model: TINY for each in (BAND, MOVED, LONE)}
        self.now = 0.0
        self._certain = certain
        self._wake: float | None = 0.0

    def tell(self, event: Event | None) -> None:
        """Something happens now, and a plan is there for every half beat that ends with it."""
        self._wake = self.daemon._play(self.now, event)
        while self.worker.halves:
            half = self.worker.halves.pop(0)
            self._wake = self.daemon._play(self.now, planned(half, half.number // 3 % 12, self._certain))

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self._wake is not None and self._wake < until:
            self.now = max(self.now, self._wake)
            self.tell(None)
        self.now = until

    def play(self, channel: int, pitch: int) -> None:
        self.tell(Received(0, midi.note_on(channel, pitch, 80)))

    def forget(self) -> None:
        for messages in self.sent.values():
            messages.clear()

    @property
    def sounding(self) -> set[str]:
        """The outputs at which notes sound."""
        return {output for output, messages in self.sent.items() if sounding(messages)}

    def channels(self, output: str) -> set[int]:
        """The channels, 1-16, on which notes began."""
        return {(data[0] & 0x0F) + 1 for data in self.sent[output] if midi.is_note_on(data)}

    def end(self) -> None:
        """As the daemon ends, with all outputs there."""
        self.tell(Plugged("out", 0, "synth", True))
        self.daemon._send(self.now, self.session.end(), takes_back=True)
        assert not self.sounding


def test_each_part_leaves_by_its_output_and_all_else_by_the_main_one() -> None:
    stage = Stage()
    stage.play(0, 72)
    # On the channel of the bass, but the player's: with MPE that may be any.
    stage.play(1, 76)
    stage.wait(10)
    for part in PARTS:
        assert stage.channels(part) == {CHANNELS[part]}, part
        assert check(stage.sent[part], ended=False) > 20
    assert stage.channels("") == {1, 2}
    stage.end()


def test_a_part_that_moves_to_another_channel_keeps_its_output() -> None:
    stage = Stage()
    stage.wait(5)
    stage.tell(Turned("bass_channel", 3))  # where the comping is
    stage.wait(1)
    stage.forget()
    stage.wait(5)
    assert stage.channels("bass") == stage.channels("comping") == {3}
    assert stage.channels("") == set()
    stage.end()


def test_the_last_notes_of_a_preset_leave_as_the_others_did() -> None:
    """Presets switch before the bar line: the new one's channels stand already while the old one still plays."""
    stage = Stage()
    for preset in MOVED, LONE, BAND:
        stage.wait(5)
        stage.tell(Chosen(preset))
    stage.wait(5)
    assert stage.session.preset == BAND
    assert stage.channels("bass") == stage.channels("comping") == {2, 3}
    assert stage.channels("") == set()
    stage.end()


def test_a_note_ends_where_it_began() -> None:
    routing = Routing(("bass",))
    begins, ends = midi.note_on(2, 60, 9), midi.note_off(2, 60)
    assert routing.outputs(Planned(begins, 1.0, "bass")) == ("bass",)
    assert routing.outputs(Planned(ends, 1.0)) == ("bass",)
    assert routing.outputs(Planned(begins, 1.0, "drums")) == ("",), "it has no output"
    assert routing.outputs(ends) == ("",)
    # One that is not known to have begun: a session that crashed may have left it anywhere.
    assert routing.outputs(ends) == ("", "bass")


def test_panic_silences_every_output() -> None:
    stage = Stage()
    stage.play(0, 72)
    stage.wait(5)
    assert stage.sounding > {""}
    stage.tell(Pressed("panic"))
    assert not stage.sounding
    for messages in stage.sent.values():
        assert {midi.control(1, midi.ALL_NOTES_OFF, 0), midi.control(1, midi.ALL_SOUND_OFF, 0)} <= {*messages}


def test_what_a_crashed_session_left_is_ended_at_every_output() -> None:
    stage = Stage(LONE)
    stage.tell(Left(((1, 40), (0, 72)), (0, 1)))
    for messages in stage.sent.values():
        assert {midi.note_off(1, 40), midi.note_off(0, 72), midi.control(1, midi.ALL_NOTES_OFF, 0)} <= {*messages}


def test_no_part_sounds_on_while_the_main_output_is_unplugged() -> None:
    stage = Stage()
    stage.wait(5)
    before = stage.sounding
    assert before & {*PARTS}
    stage.tell(Plugged("out", 0, "synth", False))
    assert not stage.sounding
    stage.forget()
    stage.wait(5)
    assert not any(stage.sent.values())
    stage.tell(Plugged("out", 0, "synth", True))
    # Their own ends come as well: if all outputs were gone, nobody heard the others.
    assert {part for part in PARTS if any(map(midi.is_note_off, stage.sent[part]))} == before
    stage.wait(5)
    assert all(map(stage.channels, PARTS))
    stage.end()


HAPPENS = st.one_of(
    st.builds(lambda part, to: Turned(f"{part}_channel", to), st.sampled_from(PARTS), st.sampled_from((2, 3, 16))),
    st.builds(lambda part, off: Turned(f"{part}_mute", off), st.sampled_from(PARTS), st.integers(0, 1)),
    st.builds(Chosen, st.sampled_from((BAND, MOVED, LONE))),
    st.builds(Pressed, st.sampled_from(("panic", "mute", "clear", "regenerate"))),
    st.builds(lambda there: Plugged("out", 0, "synth", there), st.booleans()),
    st.builds(
        lambda channel, pitch, velocity: Received(0, midi.note_on(channel, pitch, velocity)),
        st.sampled_from((0, 1, 2, 9)),
        st.integers(24, 60),
        st.sampled_from((0, 80)),
    ),
    st.builds(
        lambda channel, number, value: Received(0, midi.control(channel, number, value)),
        st.integers(0, 2),
        st.sampled_from((midi.SUSTAIN, midi.ALL_NOTES_OFF, midi.ALL_SOUND_OFF, midi.RESET_CONTROLLERS)),
        st.sampled_from((0, 127)),
    ),
    st.floats(0, 3),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(HAPPENS, max_size=40), st.integers(1, 3))
def test_nothing_is_left_sounding_at_any_output(story: list[Event | float], certain: int) -> None:
    stage = Stage(certain=certain)
    stage.wait(2)
    for happens in story:
        if isinstance(happens, float):
            stage.wait(happens)
            continue
        stage.tell(happens)
        if happens == Pressed("panic") or (isinstance(happens, Plugged) and not happens.there):
            assert not stage.sounding & {*PARTS}
    stage.end()
    for part in PARTS:
        others = {data[1] for data in stage.sent[part] if not midi.is_note(data)}
        assert others <= {midi.ALL_NOTES_OFF, midi.ALL_SOUND_OFF}
        assert stage.channels(part) <= {CHANNELS[part], 2, 3, 16}


# ---- ports ----------------------------------------------------------------------------------------------------------


def test_outputs_of_parts_are_our_own_and_bear_their_names() -> None:
    ways = Patch("rtgen", ("keys",), "synth", shown=("pads",), parts=PARTS).ways()
    parts = [way for way in ways if way.part]
    assert [(way.title, way.role) for way in parts] == [(f"rtgen {part}", part) for part in PARTS]
    assert all(way.named is None and way.there and way.direction == "out" for way in parts)
    assert ways[0].connection(None) == Connection("out", 0, "synth", True, ("synth",), False)
    assert title(ways, "jack") == "keys and synth, with rtgen bass, rtgen comping, rtgen drums, rtgen second (JACK)"


class Losing(Leaving):
    """Ports, those of parts among them, whose server ends."""

    def __init__(self) -> None:
        super().__init__()
        self._ways = Patch("rtgen", parts=PARTS).ways()
        self._client = self._server = None


def test_the_main_output_stands_for_all_when_the_server_ends() -> None:
    ports = Losing()
    ports._lost()
    assert ports.told == [("out", False), ("in", False)]


class Client:
    """One of rtmidi's clients; it can be connected to a synth."""

    def __init__(self) -> None:
        self.name = ""
        self.sent: list[bytes] = []

    def open_virtual_port(self, name: str) -> None:
        self.name = name

    def open_port(self, _index: int, name: str) -> None:
        self.name = name

    def get_ports(self) -> list[str]:
        return ["synth"]

    def send_message(self, data: bytes) -> None:
        self.sent.append(data)

    def delete(self) -> None: ...


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """Those that are opened."""
    opened: list[Client] = []

    def opens(*_: str) -> Client:
        opened.append(Client())
        return opened[-1]

    monkeypatch.setattr(system_ports, "open_client", opens)
    return opened


def test_each_message_leaves_by_the_client_of_its_part(clients: list[Client]) -> None:
    ports = SystemPorts("alsa", Patch("rtgen", (None,), "synth", parts=PARTS))
    assert ports.parts == PARTS
    for number, part in enumerate(("", *PARTS)):
        ports.send(0.0, bytes((number,)), part)
    ports._tell(ports._ways[0], there=False)
    for part in "", "bass":
        ports.send(0.0, b"later", part)
    sent = {client.name: client.sent for client in clients}
    assert sent == {
        "rtgen out": [b"\x00"],
        "rtgen bass": [b"\x01", b"later"],
        "rtgen comping": [b"\x02"],
        "rtgen drums": [b"\x03"],
        "rtgen second": [b"\x04"],
        "rtgen in": [],
    }


@pytest.mark.usefixtures("clients")
def test_where_there_are_no_virtual_ports_there_are_none_for_parts() -> None:
    with pytest.raises(UserError, match="parts get none of their own; remove --parts"):
        SystemPorts("winmm", Patch("rtgen", ("synth",), "synth", parts=PARTS))
