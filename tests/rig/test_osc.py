"""OSC over the loopback: knobs and buttons in, state out, and what cannot be understood."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtgen.errors import UserError
from rtgen.instrument.binding import Binding
from rtgen.instrument.clocks.transport import Health
from rtgen.instrument.events import Event, Learn, Paced, Pressed, Turned, Used
from rtgen.instrument.job import Placed
from rtgen.instrument.notices import Answered, ControlTaken, NothingLearned, SaveBindings
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop, Note
from rtgen.rig.daemon import View
from rtgen.rig.kept import presets
from rtgen.rig.kept.presets import numbered
from rtgen.rig.told import osc, remote
from rtgen.rig.told.osc import Client, Remote, datagram, told

LOOP = Loop(3840, (Note(-3, 60, 400, 90), Note(960, 64, 100, 70)))
VIEW = View(96.5, 2400, LOOP.notes, LOOP, Preset(name="lush", program=10), "hold", dict(Preset().knobs), True, 0.0213)


class Desk:
    """A remote, and what came of what it was sent."""

    def __init__(self, examine: Callable[[], str] = lambda: "{}") -> None:
        self.heard: list[Event] = []
        self.chosen: list[str] = []
        self.said: list[str] = []
        self.view = VIEW
        self.remote = Remote(
            self.heard.append,
            lambda: self.view,
            self.choose,
            self.said.append,
            {"name": "desk", "clips": "/c"},
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
    ends = time.perf_counter() + 15
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
        ("/rtgen/use", ("never",), "/rtgen/use cannot be 'never'"),
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


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_no_datagram_stops_it(data: bytes) -> None:
    desk = Desk()
    desk.remote._take(data, ("127.0.0.1", 9))
    desk.remote._take(b"/rtgen/panic\0\0\0\0,\0\0\0", ("127.0.0.1", 9))
    desk.remote._socket.close()
    assert desk.heard[-1] == Pressed("panic")


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
    desk.remote.heard(Answered(0, 2, Loop(1920), "answer", 0.0123, 0.02), "answering")
    assert list(client.hear(0.2)) == [
        ("/rtgen/state/took", (pytest.approx(12.3), pytest.approx(20.0), "answer")),
        ("/rtgen/state/news", ("answering",)),
    ]
    client.send("/rtgen/unsubscribe")
    time.sleep(0.1)
    desk.view = VIEW
    assert list(client.hear(0.2)) == []


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
    with pytest.raises(UserError, match="takes a number"):
        remote.tell(port, "/rtgen/distance", "x")


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
    programs = {p.name: p.program for p in numbered()}
    assert len(set(programs.values())) == len(programs)
    assert programs["mine"] == max(programs.values())
    with pytest.raises(UserError, match="preset mine is there already"):
        presets.save(found, "mine", over=False)
    with pytest.raises(UserError, match="preset vary comes with rtgen; choose another name, or say --over"):
        presets.save(found, "vary", over=False)
    presets.save(found, "vary", over=True)
    assert {p.name: p.program for p in numbered()}["vary"] == programs["vary"]
    for name in ("a/b", "", "7", ".x", "x" * 99):
        with pytest.raises(UserError, match="cannot be the name of a preset"):
            presets.save(found, name, over=True)
