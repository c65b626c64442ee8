"""OSC over the loopback: knobs and buttons in, state out, and what cannot be understood."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pythonosc.osc_message_builder import OscMessageBuilder

from rtgen.errors import UserError
from rtgen.instrument.along import Coming
from rtgen.instrument.binding import Binding
from rtgen.instrument.clocks.transport import Health
from rtgen.instrument.events import Event, Learn, Paced, Pressed, Turned, Used
from rtgen.instrument.job import Piece, Placed
from rtgen.instrument.notices import Answered, ControlTaken, NothingLearned, SaveBindings
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music import midi
from rtgen.music.hand import Hand, Moved
from rtgen.music.note import Loop, Note
from rtgen.rig import runner
from rtgen.rig.daemon import View
from rtgen.rig.kept import presets
from rtgen.rig.kept.presets import numbered
from rtgen.rig.told import osc, remote
from rtgen.rig.told.osc import Client, Remote, told
from rtgen.rig.told.packet import ELEMENTS, datagram, parse

LOOP = Loop(3840, (Note(-3, 60, 400, 90), Note(960, 64, 100, 70)))
VIEW = View(96.5, 2400, LOOP.notes, LOOP, Preset(name="lush", program=10), "hold", dict(Preset().knobs), True, 0.0213)


class Desk:
    """A remote, and what came of what it was sent."""

    def __init__(self, examine: Callable[[], str] = lambda: "{}", clips: str = "/c") -> None:
        self.heard: list[Event] = []
        self.chosen: list[str] = []
        self.said: list[str] = []
        self.view = VIEW
        self.remote = Remote(
            self.heard.append,
            lambda: self.view,
            self.choose,
            self.said.append,
            {"name": "desk", "clips": clips},
            port=0,
            examine=examine,
        )

    def choose(self, name: str) -> str | None:
        """As `Steward.choose`."""
        self.chosen.append(name)
        return f"there is no preset called {name}" if name == "nix" else None


@pytest.fixture
def desk() -> Iterator[Desk]:
    found = Desk()
    with found.remote:
        yield found


@pytest.fixture
def client(desk: Desk) -> Iterator[Client]:
    with Client(desk.remote.port) as found:
        yield found


def soon(found: Callable[[], bool]) -> None:
    ends = time.perf_counter() + 60
    while not found() and time.perf_counter() < ends:
        time.sleep(0.01)
    assert found()


# ---- in -------------------------------------------------------------------------------------------------------------


def test_every_parameter_and_button_has_an_address(desk: Desk, client: Client) -> None:
    meant: list[Event] = []
    for parameter in PARAMETERS.values():
        client.send(f"/rtgen/{parameter.name}", float(parameter.high))
        meant.append(Turned(parameter.name, parameter.high))
        time.sleep(0.002)  # as a hand would
    for button in BUTTONS.values():
        client.send(f"/rtgen/{button.name}")
        meant.append(Pressed(button.name, None if button.stays else True))
        time.sleep(0.002)
    soon(lambda: len(desk.heard) == len(meant))
    assert desk.heard == meant
    assert desk.said == []


def test_buttons_can_be_let_go(desk: Desk, client: Client) -> None:
    for value in (1, 0.0, 1.0):
        client.send("/rtgen/freeze", value)
    client.send("/rtgen/panic", 0)
    meant = [Pressed("freeze", True), Pressed("freeze", False), Pressed("freeze", True), Pressed("panic", False)]
    soon(lambda: desk.heard == meant)


def test_presets_uses_and_learning(desk: Desk, client: Client) -> None:
    client.send("/rtgen/preset", "next")
    client.send("/rtgen/preset", 7)
    client.send("/rtgen/use", "follow")
    client.send("/rtgen/learn", "mute")
    client.send("/rtgen/learn/over")
    client.send("/rtgen/learn")
    soon(lambda: len(desk.heard) == 4)
    assert desk.heard == [Used("follow"), Learn("mute"), Learn(None, over=True), Learn(None)]
    assert desk.chosen == ["next", "7"]


@pytest.mark.parametrize(
    ("address", "values", "said"),
    [
        ("/rtgen/distance", (3.0,), "distance is 3; it goes from 0 to 1"),
        ("/rtgen/distance", ("much",), "/rtgen/distance takes a number, not 'much'"),
        ("/rtgen/distance", (float("nan"),), "takes a number"),
        ("/rtgen/distance", (True,), "takes a number, not True"),
        ("/rtgen/distance", (), "takes a number, not None"),
        ("/rtgen/distanze", (0.5,), "there is no /rtgen/distanze; did you mean 'distance'"),
        ("/rtgen/freeze", ("on",), "takes no value, or a number"),
        ("/rtgen/use", ("never",), "/rtgen/use cannot be 'never'; it is answer, follow, hold or along"),
        ("/rtgen/learn", ("distanze",), "/rtgen/learn cannot be 'distanze'"),
        ("/rtgen/preset", ("nix",), "there is no preset called nix"),
        ("/rtgen/subscribe", (-3,), "cannot be -3"),
        ("/live/tempo", (120.0,), "/live/tempo is not an rtgen address"),
    ],
)
def test_what_cannot_be_is_answered_and_told_once(desk: Desk, client: Client, address, values, said) -> None:  # type: ignore[no-untyped-def]
    for _ in range(3):
        client.send(address, *values)
    answers = [words[0] for where, words in client.hear(0.4) if where == "/rtgen/error"]
    assert len(answers) == 3
    assert all(said in answer for answer in answers)
    assert len(desk.said) == 1
    assert said in desk.said[0]
    assert desk.heard == []


# ---- packets of strangers -------------------------------------------------------------------------------------------


def bundle(*elements: bytes) -> bytes:
    return b"#bundle\0" + bytes(8) + b"".join(struct.pack(">i", len(each)) + each for each in elements)


PANIC = datagram("/rtgen/panic", ())
HOSTILE = {
    "an array": b"/rtgen/learn\0\0\0\0,[i]\0\0\0\0\0\0\0\x01",
    "a superscript": datagram("/rtgen/preset", ("²",)),
    "digits": datagram("/rtgen/preset", ("9" * 4000,)),
    "more digits": datagram("/rtgen/preset", ("9" * 5000,)),
    "a long name": datagram("/rtgen/preset", ("x" * 300 + ".yaml",)),
    "nobody's home": datagram("/rtgen/preset", ("~nosuchuser/x.yaml",)),
    "a long address": datagram("/" + "a" * 60_000, ()),
    "a negative size": b"#bundle\0" + bytes(8) + struct.pack(">i", -4),
    "a message and a size that goes back to it": bundle(PANIC) + struct.pack(">i", -32),
    "no size": b"#bundle\0" + bytes(8) + bytes(64),
    "a negative blob": b"/rtgen/learn\0\0\0\0,b\0\0\xff\xff\xff\xf0",
    "infinity": datagram("/rtgen/distance", (float("inf"),)),
    "a large double": datagram("/rtgen/distance", (1e300,)),
    "a large integer": datagram("/rtgen/distance", (2**63 - 1,)),
    "not UTF-8": b"/rtgen/preset\0\0\0,s\0\0\xff\xfe\0\0",
    "an escape sequence": datagram("/rtgen/preset", ("\x1b]0;x\x07",)),
    "an escape sequence in an address": datagram("/rtgen/\x1b]0;x\x07", ()),
    "many bundles": bundle(*[bundle()] * 150),
}  # fmt: skip


@pytest.mark.parametrize("packet", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_packet_is_told_and_the_next_message_is_carried_out(desk: Desk, packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(packet, ("127.0.0.1", desk.remote.port))
        time.sleep(0.1)
        stranger.sendto(PANIC, ("127.0.0.1", desk.remote.port))
    soon(lambda: desk.heard == [Pressed("panic")])
    assert all(len(line) < 400 and line.isprintable() for line in desk.said)
    assert not any("defect" in line for line in desk.said)
    assert desk.said or desk.chosen


def test_a_defect_is_told_once_and_survived(desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> str | None:
        raise KeyError("x\x1b[2J")

    monkeypatch.setattr(desk.remote, "_choose", broken)
    for _ in range(3):
        client.send("/rtgen/preset", "lush")
    monkeypatch.setattr(osc, "told", broken)
    client.send("/rtgen/subscribe")
    time.sleep(0.3)
    client.send("/rtgen/panic")
    soon(lambda: desk.heard == [Pressed("panic")])
    assert len(desk.said) == 1
    assert "an OSC message was left out (KeyError(" in desk.said[0]
    assert desk.said[0].isprintable()


VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32),
    st.text(max_size=12),
    st.sampled_from(("next", "²", "~x/y.yaml", "auto", "9" * 400, "distance", "follow", *PARAMETERS)),
    st.booleans(),
    st.none(),
    st.binary(min_size=1, max_size=9),
)
NAMES = st.sampled_from(
    [*PARAMETERS, *BUTTONS, "preset", "use", "learn", "learn/over", "unsubscribe", "error", "nix", ""]
)
MESSAGES = st.builds(
    lambda name, values: datagram(f"/rtgen/{name}", tuple(values)), NAMES, st.lists(VALUES, max_size=4)
)
PACKETS = st.recursive(
    MESSAGES, lambda inner: st.lists(inner, max_size=5).map(lambda parts: bundle(*parts)), max_leaves=12
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A packet, some of whose bytes or four-byte numbers are others; or that is cut off, or goes on."""
    data = bytearray(draw(PACKETS))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                data[at] = draw(st.sampled_from((0, 1, 44, 47, 91, 93, 127, 128, 255)))
            case 1:
                at -= at % 4
                data[at : at + 4] = struct.pack(
                    ">i", draw(st.sampled_from((-(2**31), -32, -4, -1, 0, 1, 4, 2**31 - 1)))
                )
            case 2:
                del data[max(at, 1) :]
            case 3:
                data += draw(st.binary(max_size=8))
            case 4:
                data[at:at] = data[:at]
    return bytes(data)


@settings(max_examples=int(os.environ.get("RTGEN_FUZZ", "300")), deadline=1000)
@given(st.lists(st.one_of(mutated(), st.binary(max_size=60)), max_size=4))
def test_no_datagram_stops_it(packets: list[bytes]) -> None:
    still_hears(packets)


def still_hears(packets: list[bytes]) -> None:
    """Sends packets of strangers, and then a panic, which must be heard."""
    desk = Desk()
    for data in packets:
        with suppress(ValueError):
            assert len(parse(data)) <= ELEMENTS
        desk.remote._take(data, ("127.0.0.1", 9))
    desk.remote._take(PANIC, ("127.0.0.1", 9))
    desk.remote._socket.close()
    assert desk.heard[-1] == Pressed("panic")
    assert all(line.isprintable() and "defect" not in line for line in desk.said)


@given(st.text("abc/_1", min_size=1, max_size=20), st.lists(VALUES, max_size=osc.MOST // 8))
@example("top", [3.4000001549684603e38, -3.4028234663852886e38])
def test_packets_are_those_of_another_library(name: str, values: list[object]) -> None:
    builder = OscMessageBuilder(f"/{name}")
    for value in values:
        if isinstance(value, str):
            value = "".join(c for c in value if c.isprintable())
        builder.add_arg(value)
    theirs = builder.build()
    ours = tuple(theirs.params)
    assert datagram(theirs.address, ours) == theirs.dgram
    ((address, found),) = parse(theirs.dgram)
    assert address == theirs.address
    assert repr(found) == repr(ours)


def test_bundles_are_carried_out_in_order_and_to_a_depth(desk: Desk, client: Client) -> None:
    first, second = (datagram("/rtgen/distance", (value,)) for value in (0.25, 0.5))
    client._socket.send(bundle(first, bundle(bundle(second)), PANIC))
    soon(lambda: desk.heard == [Turned("distance", 0.25), Turned("distance", 0.5), Pressed("panic")])
    client._socket.send(bundle(bundle(bundle(bundle(bundle(first))))))
    soon(lambda: any("nested more than 4 deep" in line for line in desk.said))


def test_a_string_in_place_of_the_type_tags_is_no_message() -> None:
    for data in (b"/a\0\0i\0\0\0\0\0\0\1", b"/a\0\0\0\0\0\1", b"a\0\0\0,\0\0\0", PANIC[:-1], PANIC + b"\0\0\0\0"):
        with pytest.raises(ValueError, match=r"message|string"):
            parse(data)
    assert parse(b"/a\0\0") == [("/a", ())]  # old programs leave the type tags out
    with pytest.raises(ValueError, match="cannot be sent"):
        datagram("/a", ([],))
    assert parse(datagram("/a", (1e300,))) == [("/a", (1e300,))]


def test_long_datagrams_at_a_strangers_rate_are_not_parsed(
    desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []

    def watched(data: bytes, *values: int) -> list[osc.Said]:
        parsed.append(len(data))
        return parse(data, *values)

    monkeypatch.setattr(osc, "parse", watched)
    began = time.perf_counter()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for i in range(600):
            stranger.sendto(datagram("/" + "a" * (60_000 if i % 2 else 4_000), ()), ("127.0.0.1", desk.remote.port))
    rounds = (time.perf_counter() - began) / 0.05 + 8
    soon(lambda: any("messages dropped" in line for line in desk.said))
    assert max(parsed, default=0) <= osc.LONGEST
    assert sum(parsed) <= rounds * (osc._ROUND_BYTES + osc.LONGEST)
    time.sleep(0.2)
    client.send("/rtgen/panic")
    soon(lambda: desk.heard == [Pressed("panic")])


def test_presets_are_not_loaded_at_a_strangers_rate(desk: Desk, client: Client) -> None:
    for _ in range(20):
        client.send("/rtgen/preset", "lush")
    answers = [words[0] for where, words in client.hear(0.3) if where == "/rtgen/error"]
    assert len(desk.chosen) == osc._LOADS
    assert len(answers) == 20 - osc._LOADS
    assert "presets within a second cannot be loaded" in answers[0]


def test_two_rtgens_do_not_answer_each_others_errors(desk: Desk, client: Client) -> None:
    client.send("/rtgen/error", "x")
    client.send("/rtgen/state/alive", 1)
    client.send("/rtgen/subscribe", desk.remote.port)
    assert [words[0] for _, words in client.hear(0.2)] == [
        f"port {desk.remote.port} is rtgen's own; subscribe with a port of yours"
    ]


def test_a_flood_is_thinned_and_counted(desk: Desk, client: Client) -> None:
    began = time.perf_counter()
    for i in range(5000):
        client.send("/rtgen/distance", i / 5000)
    rounds = (time.perf_counter() - began) / 0.05 + 2
    soon(lambda: any("messages dropped" in line for line in desk.said))
    time.sleep(0.2)
    assert 0 < len(desk.heard) <= osc.MOST * (rounds + 6)
    client.send("/rtgen/panic")
    soon(lambda: desk.heard[-1] == Pressed("panic"))


# ---- out ------------------------------------------------------------------------------------------------------------


def test_whoever_subscribes_is_told_all_and_then_what_changes(desk: Desk, client: Client) -> None:
    client.send("/rtgen/subscribe")
    first = dict(client.hear(0.3))
    assert first["/rtgen/state/name"] == ("desk",)
    assert first.keys() >= {f"/rtgen/{name}" for name in PARAMETERS}
    assert first["/rtgen/state/preset"] == ("lush", 10)
    assert first["/rtgen/state/bar"] == (2, 2)
    assert first["/rtgen/state/tempo"] == (pytest.approx(96.5),)
    assert (first["/rtgen/freeze"], first["/rtgen/mute"]) == ((1.0,), (1.0,))
    assert first["/rtgen/state/answer"] == (3840, -3, 60, 400, 90, 960, 64, 100, 70)
    desk.view = replace(VIEW, tempo=97.0)
    assert list(client.hear(0.2)) == [("/rtgen/state/tempo", (97.0,))]
    desk.view = replace(desk.view, health=Health(0.00123, 2, 1))
    assert list(client.hear(0.2)) == [("/rtgen/state/clock", (pytest.approx(1.2), 2, 1))]
    desk.view = replace(desk.view, dimensions=("density", "z1"), placed=Placed((0.5, 0.25), (0.5, 1.0)))
    assert list(client.hear(0.2)) == [
        ("/rtgen/state/dimensions", ("density", "z1")),
        ("/rtgen/state/map/loop", (0.5, 0.25)),
        ("/rtgen/state/map/answer", (0.5, 1.0)),
    ]
    desk.view = replace(desk.view, bound={"fill": "CC 29", "mute": "key C2"}, stored=(LOOP, None))
    assert list(client.hear(0.2)) == [
        ("/rtgen/state/bound", ("fill", "CC 29", "mute", "key C2")),
        ("/rtgen/state/stored/a", (3840, -3, 60, 400, 90, 960, 64, 100, 70)),
    ]
    desk.view = replace(desk.view, layers=2, overdubs=True, moved=(Moved(480, b"\xe1\x00\x60"),))
    assert list(client.hear(0.2)) == [
        ("/rtgen/overdub", (1.0,)),
        ("/rtgen/state/layers", (2,)),
        ("/rtgen/state/moved/played", (1, 480, 4096)),
    ]
    desk.remote.heard(Answered(0, 2, Loop(1920), "answer", 0.0123, 0.02), "answering")
    assert list(client.hear(0.2)) == [
        ("/rtgen/state/took", (pytest.approx(12.3), pytest.approx(20.0), "answer")),
        ("/rtgen/state/news", ("answering",)),
    ]
    client.send("/rtgen/unsubscribe")
    time.sleep(0.1)
    desk.view = VIEW
    assert list(client.hear(0.2)) == []


def test_the_channels_of_a_band_are_told_and_nothing_of_parts_that_are_muted() -> None:
    played = Hand(
        (
            Moved(0, midi.note_on(1, 36, 90)),
            Moved(0, midi.note_on(9, 36, 90)),
            Moved(100, midi.note_off(1, 36)),
            Moved(100, midi.note_off(9, 36)),
            Moved(480, midi.note_on(9, 42, 90)),
            Moved(500, midi.note_off(9, 42)),
        ),
        apart=True,
    )
    notes = (Note(0, 36, 100, 90), Note(0, 36, 100, 90), Note(480, 42, 20, 90))
    plan = Piece("C", (("drums", Note(0, 38, 60, 90)), ("second", Note(0, 60, 60, 90)), ("bass", Note(0, 40, 60, 90))))
    view = replace(VIEW, tick=0, answer=Loop(3840, notes, 1920, played), coming=Coming(0, 1, (plan, plan)))
    found = dict(told(view))
    assert found["/rtgen/state/channels/answer"] == (2, 10, 10)
    assert found["/rtgen/state/expected"][2::4] == (38, 40)  # the second voice is muted
    assert found["/rtgen/state/channels/expected"] == (10, 2)
    assert dict(told(VIEW))["/rtgen/state/channels/answer"] == ()


def test_bends_pressure_and_the_pedal_are_told_and_of_many_some() -> None:
    moves = [Moved(0, b"\xe0\x00\x00"), Moved(1, b"\xd2\x63"), Moved(2, b"\xb0\x40\x7f"), Moved(3, b"\xb0\x0b\x10")]
    assert osc.curves(moves) == (0, 0, -8192, 18, 1, 99, 32, 2, 127)
    many = osc.curves(Moved(i, b"\xe0\x00\x40") for i in range(4000))
    assert len(many) <= 3 * osc.NOTES
    assert many[-2] > 3900


def test_a_subscription_ends_by_itself(desk: Desk, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osc, "LEASE_S", 0.2)
    client.send("/rtgen/subscribe")
    assert list(client.hear(0.1))
    time.sleep(0.3)
    desk.view = replace(VIEW, tempo=90.0)
    assert list(client.hear(0.2)) == []


def test_a_subscription_to_another_port(desk: Desk, client: Client) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(5)
        client.send("/rtgen/subscribe", other.getsockname()[1])
        assert other.recv(1000).startswith(b"/rtgen/")
    # It is gone, and nobody minds.
    time.sleep(0.2)
    desk.view = replace(VIEW, tempo=90.0)
    client.send("/rtgen/panic")
    soon(lambda: desk.heard == [Pressed("panic")])


def test_no_more_listen_than_may(desk: Desk) -> None:
    clients = [Client(desk.remote.port) for _ in range(osc.LISTENERS + 1)]
    for each in clients:
        each.send("/rtgen/subscribe")
        time.sleep(0.01)
    words = dict(clients[-1].hear(0.3))
    assert "subscriptions are the most" in words["/rtgen/error"][0]
    for each in clients:
        each.__exit__(None, None, None)


def test_a_long_loop_fits_into_a_datagram() -> None:
    many = Loop(3840, tuple(Note(i % 3840, i % 128, 10) for i in range(3000)))
    for address, values in told(replace(VIEW, answer=many, played=many.notes)):
        assert len(datagram(address, values)) < 9000


# ---- from another terminal ------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_a_sentence(desk: Desk) -> None:
    with pytest.raises(UserError, match=rf"OSC port {desk.remote.port} of 127.0.0.1 is already in use .*--osc off"):
        Remote(desk.heard.append, lambda: VIEW, desk.choose, desk.said.append, {}, port=desk.remote.port)


def test_a_running_daemon_is_found_and_told(desk: Desk) -> None:
    port = desk.remote.port
    state = remote.running(port)[port]
    assert state["/rtgen/state/name"] == ("desk",)
    remote.tell(port, "/rtgen/distance", 0.5)
    assert desk.heard == [Turned("distance", 0.5)]
    with pytest.raises(UserError, match=r"^distance takes a number"):
        remote.tell(port, "/rtgen/distance", "x")


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "cannot listen on 192.0.2.1"), ("a..b", "cannot listen on a..b")]
)
def test_an_address_of_another_machine_is_a_sentence(desk: Desk, host: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"OSC {said} .*give --osc an address of this machine"):
        Remote(desk.heard.append, lambda: VIEW, desk.choose, desk.said.append, {}, host)


@pytest.mark.parametrize("where", ["²", "127.0.0.1:²", "99999", "9" * 5000, "-1"])
def test_a_port_that_cannot_be_one_is_a_sentence(where: str) -> None:
    with pytest.raises(UserError, match=r"use off, a port, or an address and a port"):
        runner._remote(where, {}, None, None, SimpleQueue(), dict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "answers",
    [
        [("/rtgen/state/complete", (1,))],
        [("/rtgen/state/name", ()), ("/rtgen/state/complete", ())],
        [("/live/tempo", (120.0,)), ("/rtgen/state/tempo", ("fast",)), ("/rtgen/error", ())],
    ],
)
def test_another_program_on_the_port_is_no_rtgen(answers: list[osc.Said]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def answer() -> None:
            with suppress(OSError):
                _, sender = other.recvfrom(1000)
                other.sendto(b"nonsense", sender)
                for said in answers:
                    other.sendto(datagram(*said), sender)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError, match="no running rtgen answers"):
            remote.present(port)
        thread.join(5)


def test_the_tempo_of_the_internal_clock_can_be_set_and_no_other(desk: Desk, client: Client) -> None:
    client.send("/rtgen/tempo", 96.0)
    assert next(client.hear(1)) == (
        "/rtgen/error",
        ("the tempo is that of the MIDI clock; set it there, or restart rtgen with --clock internal",),
    )
    desk.view = replace(VIEW, clock="internal")
    client.send("/rtgen/tempo", 1000)
    assert next(client.hear(1)) == ("/rtgen/error", ("tempo is 1000; it goes from 20 to 400",))
    client.send("/rtgen/tempo", "fast")
    assert next(client.hear(1)) == ("/rtgen/error", ("/rtgen/tempo cannot be 'fast'",))
    client.send("/rtgen/tempo", 96)
    soon(lambda: desk.heard == [Paced(96.0)])


KEYS = (Binding("blend", 70, channel=1),)


@pytest.mark.parametrize(
    ("item", "line", "outcome"),
    [
        (SaveBindings(0, "blend", KEYS), "learned blend from Keys", "learned blend from Keys"),
        (SaveBindings(0, "blend", KEYS), "config.yaml is not valid YAML", "!config.yaml is not valid YAML"),
        (ControlTaken(0, "blend", "fill"), "taken", "!already fill; 'rtgen learn blend --over' makes it blend"),
        (None, "", "!no control was moved within 1 s"),
    ],
)
def test_learning_waits_for_the_outcome(desk: Desk, item: object, line: str, outcome: str) -> None:
    def move() -> None:
        soon(lambda: Learn("blend") in desk.heard)
        desk.remote.tell("/rtgen/state/news", "something else")
        desk.remote.heard(SaveBindings(0, "fill", (Binding("fill", 71),)), "learned fill from Keys")
        if item is not None:
            desk.remote.heard(item, line)

    threading.Thread(target=move, daemon=True).start()
    if outcome.startswith("!"):
        with pytest.raises(UserError, match=outcome[1:]):
            remote.learn(desk.remote.port, "blend", 1.0)
    else:
        assert remote.learn(desk.remote.port, "blend", 10.0) == outcome
    if item is None:
        soon(lambda: desk.heard[-1] == Learn(None))  # and then nothing is learned any more


def test_what_was_learned_is_forgotten_and_told(desk: Desk) -> None:
    def answer(item: object, line: str) -> None:
        soon(lambda: desk.heard == [Learn("blend", forget=True)])
        desk.heard.clear()
        desk.remote.heard(item, line)

    threading.Thread(target=answer, args=(SaveBindings(0, "blend", ()), "forgot blend"), daemon=True).start()
    assert remote.forget(desk.remote.port, "blend") == "forgot blend"
    threading.Thread(target=answer, args=(NothingLearned("blend"), "no control was learned"), daemon=True).start()
    with pytest.raises(UserError, match="no control was learned"):
        remote.forget(desk.remote.port, "blend")


def test_how_a_daemon_is_doing_is_said_in_words(desk: Desk) -> None:
    port = desk.remote.port
    (state,) = remote.running(port).values()
    assert remote.told(port, state) == [
        f"desk, OSC port {port}: frozen, muted.",
        "  Preset lush: vary in the use hold, loops of 2 bars of 4/4, model loop_denoiser.",
        "  96.5 BPM, bar 2, beat 2. The present answer has 2 notes.",
    ]
    desk.view = replace(VIEW, tick=None, answer=None, use="answer", muted=False, clock="internal")
    soon(
        lambda: (
            "/rtgen/state/rolling" in (found := remote.running(port)[port]) and found["/rtgen/state/rolling"] == (0,)
        )
    )
    first, _, last = remote.told(port, remote.running(port)[port])
    assert first.endswith(": stopped, press Play on the page.")
    assert last == "  96.5 BPM, stopped. No answer yet."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("distance", 0.35),
        ("key", "auto"),
        ("scale", "auto"),
        ("preset", "lush"),
        ("use", "hold"),
        ("mode", "vary"),
        ("model", "loop_denoiser"),
        ("tempo", 96.5),
        ("freeze", 1.0),
        ("mute", 1.0),
    ],
)
def test_the_value_of_a_parameter_is_told(desk: Desk, name: str, value: float | str) -> None:
    found = remote.value(desk.remote.port, name)
    assert found == (value if isinstance(value, str) else pytest.approx(value))


def test_what_an_older_rtgen_does_not_send_is_a_sentence(desk: Desk) -> None:
    with pytest.raises(UserError, match=r"does not send nothing; is it an older rtgen\?"):
        remote.value(desk.remote.port, "nothing")


def test_none_running_is_a_sentence() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as shut:
        shut.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match="no running rtgen answers"):
            remote.tell(shut.getsockname()[1], "/rtgen/panic")


def test_no_setting_is_dropped_when_what_plays_is_saved(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    other = {"model": "loop_vae", "mode": "blend", "use": "hold", "bars": 3, "metre": "3/4", "tempo": 96, "channel": 5}
    lush = Preset(name="lush").changed(**other)
    desk.view = replace(VIEW, preset=lush, use="hold", tempo=96.0, knobs=lush.knobs)
    kept = presets.load(presets.save(remote.present(desk.remote.port), "mine", over=False))
    unsaved = {"name", "description", "program"}
    assert set(other) | unsaved | set(PARAMETERS) == set(lush.as_dict())
    assert {k: v for k, v in kept.as_dict().items() if k not in unsaved} == {
        k: v for k, v in lush.as_dict().items() if k not in unsaved
    }


def test_what_plays_is_saved_as_a_preset(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    desk.view = replace(
        VIEW, knobs={**VIEW.knobs, "distance": 0.7, "transpose": -5.0}, preset=Preset(name="lush", bars=4)
    )
    found = remote.present(desk.remote.port)
    path = presets.save(found, "mine", over=False)
    kept = presets.load(path)
    assert (kept.knobs["distance"], kept.knobs["transpose"], kept.bars, kept.use) == (0.7, -5.0, 4, "hold")
    shipped = {p.program for p in numbered() if p.name != "mine"}
    programs = {p.name: p.program for p in numbered()}
    assert len(set(programs.values())) == len(programs)
    assert programs["mine"] == min(set(range(1, 129)) - shipped), "the first that is free"
    with pytest.raises(UserError, match="preset mine is there already"):
        presets.save(found, "mine", over=False)
    with pytest.raises(UserError, match="preset vary comes with rtgen; choose another name, or say --over"):
        presets.save(found, "vary", over=False)
    presets.save(found, "vary", over=True)
    assert {p.name: p.program for p in numbered()}["vary"] == programs["vary"]
    for name in ("a/b", "", "7", ".x", "x" * 99):
        with pytest.raises(UserError, match="cannot be the name of a preset"):
            presets.save(found, name, over=True)
