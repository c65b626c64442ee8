"""Ableton Link, between two peers that are alone in a network of their own."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.rig.daemon import View
from rtgen.rig.link import LinkLead, LinkPeer, lead
from tests.instrument.ledger import check
from tests.rig.link_session import BAR, SECOND

_ALONE = ["unshare", "--map-root-user", "--net"]


def no_network_of_our_own() -> str | None:
    """Why there can be none; None if there can."""
    if shutil.which(_ALONE[0]) is None:
        return "there is no 'unshare' (Linux, util-linux)"
    done = subprocess.run([*_ALONE, "true"], capture_output=True, text=True)
    return f"a network namespace is refused: {done.stderr.strip()}" if done.returncode else None


def printed_alone(module: str) -> dict[str, Any]:
    """What a program prints that is run in a network of its own."""
    pytest.importorskip("link", reason="the extra 'link' is not installed")
    if reason := no_network_of_our_own():
        pytest.skip(reason)
    done = subprocess.run([*_ALONE, sys.executable, "-m", module], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def song() -> dict[str, Any]:
    return printed_alone("tests.rig.link_session")


@pytest.mark.timed
def test_it_follows_start_and_stop_and_goes_on_alone(song: dict[str, Any]) -> None:
    assert [what for what, _ in song["told"]] == [
        *("peerschanged", "rolling", "located", "rolling", "stopped", "rolling", "peerschanged")
    ]
    assert (song["told"][0][1], song["told"][-1][1]) == (1, 0)
    # By the leader's own count its song begins at 0, both times.
    assert song["begun"] == pytest.approx(0, abs=0.01)
    assert song["again"] == pytest.approx(0, abs=0.01)
    assert song["stopped"] == pytest.approx(3.9 * BAR, abs=0.2)
    assert song["goes_on"]


@pytest.mark.timed
def test_its_beat_is_the_others_beat(song: dict[str, Any]) -> None:
    errors = sorted(map(abs, song["clock_ms"]))
    print(
        f"{len(errors)} times: {statistics.median(errors) * 1e3:.1f} us off at the median, {errors[-1]:.3f} ms at most"
    )
    assert len(errors) > 300
    assert statistics.median(errors) < 0.1
    assert errors[-1] < 2.0
    assert song["tempo"] == pytest.approx(SECOND, abs=0.01)
    late = [error for after, error in song["after_change_ms"] if after > 0.1]
    assert late
    assert all(abs(error) < 0.5 for error in late), late


@pytest.mark.timed
def test_what_was_played_is_answered_on_the_leaders_beat(song: dict[str, Any]) -> None:
    begun = [(beat, data[1]) for beat, data in song["sent"] if data[0] == 0x90]
    assert [pitch for _, pitch in begun] == [60, 61, 62, 63] * 2
    off = [(beat - BAR - played) * 60e3 / 100 for (beat, _), played in zip(begun, song["played"], strict=True)]
    print("off by", ", ".join(f"{ms:.2f}" for ms in off), "ms")
    assert all(abs(ms) < 10 for ms in off), off
    assert statistics.median(map(abs, off)) < 3
    assert check(bytes(data) for _, data in song["sent"]) == 8


@pytest.mark.timed
def test_it_leaves_at_once(song: dict[str, Any]) -> None:
    assert song["left_in_s"] < 1.5  # after 2 s it would have given up waiting for its thread
    assert not song["hangs"]
    assert song["leader_ended_with"] == 0


@pytest.mark.timed
def test_a_session_follows_our_song() -> None:
    seen = printed_alone("tests.rig.link_led")
    assert (seen["before"], seen["first"][1], seen["second"][1], seen["after"]) == (False, True, True, False)
    assert seen["first"][0] == pytest.approx(96.0, rel=0.005)
    assert seen["second"][0] == pytest.approx(99.5, rel=0.005)
    begun = [abs(error) for after, error in seen["begun"] if after > 0.5]
    changed = [abs(error) for after, error in seen["changed"] if after > 3.0]
    print(f"off by {statistics.median(begun):.2f} ms at the median, {max(begun):.2f} at most; after another tempo")
    print(f"{statistics.median(changed):.2f}, {max(changed):.2f}")
    assert max(begun) < 6
    assert max(changed) < 6


class FakeState:
    """The state of a session, whose clock stands at 0."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.playing, self.bpm, self.beat = False, 120.0, 0.0

    def isPlaying(self) -> bool:  # noqa: N802 (the library's name)
        return self.playing

    def tempo(self) -> float:
        return self.bpm

    def beatAtTime(self, _: int, __: float) -> float:  # noqa: N802
        return self.beat

    def setTempo(self, bpm: float, _: int) -> None:  # noqa: N802
        self.done.append(("tempo", round(bpm, 1)))

    def forceBeatAtTime(self, beat: float, _: int, __: float) -> None:  # noqa: N802
        self.done.append(("beat", round(beat, 1)))

    def setIsPlaying(self, playing: bool, _: int) -> None:  # noqa: N802
        self.done.append(("plays", playing))


@pytest.mark.parametrize(
    ("tick", "begins", "session", "done"),
    [
        (1920, True, {"beat": 4.0, "bpm": 100.0}, [("tempo", 100.0), ("beat", 4.0), ("plays", True)]),
        (1920, False, {"beat": 4.0, "bpm": 100.0}, []),
        (1920, False, {"beat": 8.0, "bpm": 100.0}, []),  # another bar is no error
        (1920, False, {"beat": 5.0, "bpm": 100.0}, [("tempo", 100.0), ("beat", 4.0), ("plays", True)]),
        (1920, False, {"beat": 4.0, "bpm": 103.0}, [("tempo", 100.0)]),
        (1920, False, {"beat": 3.98, "bpm": 100.0}, [("tempo", 101.2)]),
        (1920, False, {"beat": 4.1, "bpm": 100.0}, [("tempo", 97.0)]),
        (None, False, {"playing": True}, [("plays", False)]),
        (None, False, {}, []),
    ],
)
def test_the_session_is_led_by_its_tempo_and_jumps_only_where_it_must(
    tick: int | None,
    begins: bool,
    session: dict[str, float],
    done: list[tuple[object, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rtgen.rig.link.perf_counter", lambda: 7.0)  # and no time passes
    state = FakeState()
    for name, value in session.items():
        setattr(state, name, value)
    committed: list[FakeState] = []
    link = SimpleNamespace(
        captureAppSessionState=lambda: state,
        commitAppSessionState=committed.append,
        clock=lambda: SimpleNamespace(micros=lambda: 0),
    )
    view = View(100.0, tick, (), None, Preset(), "answer", {}, False, 0.01, now=7.0)
    lead(link, view, begins=begins)
    assert state.done == done
    assert bool(committed) == bool(done)


def test_without_the_library_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "link", None)
    with pytest.raises(UserError, match=r"pip install rtgen\[link\]"):
        LinkPeer(120.0, lambda: 4.0, lambda _: None)
    with pytest.raises(UserError, match="remove --send-link"):
        LinkLead(lambda: View(100.0, None, (), None, Preset(), "answer", {}, False, 0.01))


def test_nobody_loads_the_library_who_does_not_ask_for_it() -> None:
    loads = (
        "import sys, rtgen.cli, rtgen.rig.runner; sys.exit('link' in sys.modules or 'rtgen.rig.link' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", loads]).returncode == 0
