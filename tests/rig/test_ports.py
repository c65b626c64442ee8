from __future__ import annotations

import pytest

from rtgen.errors import UserError
from rtgen.rig.midi import systems
from rtgen.rig.midi.clients import MidiError, names_of
from rtgen.rig.midi.jack_ports import JackPorts
from rtgen.rig.midi.ways import Patch, Way, match, same_port

NAMES = ["Keystation 49 MK3 MIDI 1", "Keystation 49 MK3 MIDI 2", "IAC Driver Bus 1", "iac"]


@pytest.mark.parametrize(("wanted", "index"), [("bus", 2), ("MIDI 2", 1), ("iac", 3), ("Keystation 49 MK3 MIDI 1", 0)])
def test_a_part_of_the_name_is_enough_where_it_is_clear(wanted: str, index: int) -> None:
    assert match(wanted, NAMES, "input") == index


def test_what_is_ambiguous_is_asked_about_or_refused() -> None:
    assert match("keystation", NAMES, "input", lambda _, several: several[1]) == 1
    with pytest.raises(UserError, match=r"matches several MIDI inputs: .*give more of its name"):
        match("keystation", NAMES, "input")


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(UserError, match=r"No MIDI output matches 'nord'.*'IAC Driver Bus 1'.*rtgen ports"):
        match("nord", NAMES, "output")
    with pytest.raises(UserError, match="found: none"):
        match("nord", [], "output")


class Going:
    """A client of rtmidi's that counts the ports while one goes, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def get_ports(self) -> list[str]:
        self.times -= 1
        if self.times >= 0:
            raise MidiError("the 'portNumber' argument (1) is invalid")
        return NAMES


def test_ports_are_counted_again_when_one_goes_meanwhile() -> None:
    assert names_of(Going(2)) == NAMES
    assert names_of(Going(1000)) == []


def test_a_port_is_known_again_by_its_name_whatever_its_place_or_address() -> None:
    assert same_port("peer:out", ["other:out", "peer:out"], "jack") == 1
    assert same_port("Keys:Keys MIDI 1 20:0", ["Through 14:0", "Keys:Keys MIDI 1 24:0"], "alsa") == 1
    assert same_port("Keys 1", ["Through 0", "Keys 2"], "winmm") == 1
    assert same_port("Keys 1", ["Keys 2", "Keys 1"], "winmm") == 1
    assert same_port("Keys 1", ["Keys 2"], "core") is None
    assert same_port("peer:out", ["peer:out 2"], "jack") is None


class Leaving(JackPorts):
    """Ports that are connected to a device whose ports disappear one after the other, the keyboard's first."""

    def __init__(self) -> None:
        self._ways = Patch("rtgen", ("keys",), "synth").ways()
        self._outs = [way for way in self._ways if way.direction == "out"]
        self.left = ["keys", "synth"]
        self.told: list[tuple[str, bool]] = []
        self._changed = lambda event: self.told.append((event.direction, event.there))

    def _names(self, way: Way) -> list[str]:
        there = [name for name in self.left if (name == "synth") == (way.direction == "out")]
        if self.left and way.direction == "in":
            self.left.clear()  # both, as seen from now on
            return []
        return there

    def look(self) -> None:
        for way in self._ways:
            self._find(way)


def test_of_a_device_that_is_unplugged_the_output_is_missed_first() -> None:
    """Or the ends of the keys that were held would be sent to where nobody hears them, and never again."""
    ports = Leaving()
    ports.look()
    assert ports.told == [("out", False), ("in", False)]


@pytest.mark.parametrize(
    ("api", "there", "own"),
    [
        ("jack", [], "rtgen"),
        ("jack", ["my rtgen-in:my rtgen in", "rtgen-in-01:other", "rtgen"], "rtgen"),
        ("jack", ["rtgen-in:rtgen in"], "rtgen 2"),
        ("jack", ["rtgen-in:rtgen in", "rtgen 2-in:rtgen 2 in"], "rtgen 3"),
        ("jack", ["rtgen 2-in:rtgen 2 in"], "rtgen"),
        ("alsa", ["Midi Through:Midi Through Port-0 14:0", "rtgen:rtgen in 128:0"], "rtgen 2"),
        ("core", ["IAC Driver Bus 1", "rtgen out"], "rtgen 2"),
    ],
)
def test_a_name_that_is_taken_gets_a_number(
    monkeypatch: pytest.MonkeyPatch, api: str, there: list[str], own: str
) -> None:
    monkeypatch.setattr(systems, "_names", lambda direction, api: there)
    assert systems.own_name("rtgen", api) == own
