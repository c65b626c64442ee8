"""Knobs and buttons of controllers: what they turn and press, how they are learned, and how they take over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtgen.instrument.binding import ATTACHED, CODES, DEFAULTS, NEVER, Binding, Code, Kind, Layout, bound
from rtgen.instrument.controls import Controls, Done, Learned, Takeover, as_cc, by, of_cc
from rtgen.instrument.events import Pressed, Turned
from rtgen.instrument.parameters import BUTTONS, FREE, LATENTS, PARAMETERS
from rtgen.music.attributes import NAMES


class Knobs:
    """A controller, and the parameters that it turns."""

    def __init__(self, *bindings: Binding, takeover: Takeover = "none", **values: float) -> None:
        self.values = {p.name: p.default for p in PARAMETERS.values()} | values
        self.controls = Controls(self.values.__getitem__, bindings or DEFAULTS["all"], takeover)

    def feed(self, *data: int) -> tuple[Done, ...]:
        """A message; what is turned stays turned."""
        done = self.controls.feed(bytes(data))
        for each in done:
            if isinstance(each, Turned):
                self.values[each.name] = PARAMETERS[each.name].check(each.value)
        return done

    def cc(self, number: int, *values: int, channel: int = 1) -> list[Done]:
        return [done for value in values for done in self.feed(0xB0 | channel - 1, number, value)]


# ---- the tables -----------------------------------------------------------------------------------------------------


def test_no_two_share_a_control_change_and_none_is_a_pedal_or_a_panic() -> None:
    every = [each.cc for each in (*PARAMETERS.values(), *BUTTONS.values())]
    numbers = [number for number in every if number is not None]
    without = {each.name for each in (*PARAMETERS.values(), *BUTTONS.values()) if each.cc is None}
    player = {"give", "close", "half", "double"}
    band = {each.name for each in PARAMETERS.values() if each.group == "band"} | {"spread", "undo", "curves", "overdub"}
    assert without == {*LATENTS[8:], "roll", "answer_clip", "vary_clip", "forward", "keep_all", *player, *band}
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & {*NEVER, 1, 7, 10, 11}
    assert len(Controls(lambda _: 0.0, DEFAULTS["all"]).bindings) == len(DEFAULTS["all"]) == len(numbers)
    assert not PARAMETERS.keys() & BUTTONS.keys()


DEFINED = {*range(3), *range(4, 9), *range(10, 14), *range(16, 20), *range(32, 85), 88, *range(91, 102)}
"""Control changes to which MIDI 1.0 and its addenda (CA-031: 88) give a meaning; the LSBs of 0 to 31 among them."""
SENT = {87, *range(113, 120)}
"""Others that instruments send by themselves: 87 beside every movement (MPE+), 113 to 119 from transport buttons."""


def test_by_default_nothing_is_bound_that_instruments_send_while_they_are_played() -> None:
    assert not FREE & {*DEFINED, *SENT, *NEVER, *ATTACHED}
    controls = Controls(lambda name: PARAMETERS[name].default)
    done = {
        number: controls.feed(bytes((0xB0 | channel, number, value)))
        for number in range(128)
        for channel in (0, 5, 15)
        for value in (0, 127)
    }
    assert {number for number, each in done.items() if each} <= FREE
    assert {type(each) for every in done.values() for each in every} == {Turned}
    assert not {b.to for b in DEFAULTS["knobs"]} & BUTTONS.keys()
    # Those that a player reaches for first are there.
    assert {"distance", "temperature", "key_lock", "blend", "fill", "density", "register"} <= {
        b.to for b in DEFAULTS["knobs"]
    }


def test_what_was_learned_goes_before_the_defaults() -> None:
    own = Binding("blend", 20, channel=1), Binding("clear", 88)
    every = bound("knobs", own)
    assert every[-2:] == own
    assert {b.to for b in DEFAULTS["knobs"]} - {b.to for b in every} == {"distance"}  # 20 was its control change
    assert len(every) == len(DEFAULTS["knobs"])
    assert bound("learned", own) == own
    assert bound("all", ()) == DEFAULTS["all"]


@pytest.mark.parametrize("layout", ["knobs", "learned"])
def test_a_copy_of_all_defaults_was_not_learned(layout: Layout) -> None:
    """Version 0.1 stored it beside the first control that was learned."""
    learned = Binding("blend", 70, channel=3)
    stored = (*(b for b in DEFAULTS["all"] if b.to != "blend"), learned)
    assert set(bound(layout, stored)) == {learned, *(b for b in DEFAULTS[layout] if b.to != "blend")}
    assert set(bound("all", stored)) == set(stored)


@pytest.mark.parametrize("name", NAMES)
def test_the_middle_of_a_knob_for_an_attribute_is_as_played(name: str) -> None:
    parameter = PARAMETERS[name]
    turned = [parameter.at(of_cc(value)) for value in range(128)]
    assert (turned[0], turned[64], turned[127]) == (0.0, parameter.default, 1.0)
    assert turned == sorted(set(turned))


@given(st.integers(0, 127))
def test_a_value_is_shown_as_the_control_change_that_turned_to_it(value: int) -> None:
    assert as_cc(of_cc(value)) == value


@given(st.sampled_from(list(PARAMETERS.values())), st.floats(0, 1))
def test_every_way_ends_where_the_range_does(parameter, share) -> None:  # type: ignore[no-untyped-def]
    assert parameter.check(parameter.at(share)) == parameter.at(share)
    assert (parameter.at(0.0), parameter.at(1.0)) == (parameter.low, parameter.high)
    if parameter.taper == "linear":
        assert parameter.share(parameter.at(share)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("to", "number", "kind", "channel", "said"),
    [
        ("distanze", 20, "cc", None, "no parameter and no button 'distanze'"),
        ("distance", 64, "cc", None, "control change 64 is the pedal's, or silences"),
        ("distance", 123, "cc", None, "control change 123"),
        ("distance", 32, "cc14", None, "not a number from 0 to 31"),
        ("distance", 20, "cc", 17, "channel 17 is not from 1 to 16"),
        ("distance", 60, "note", None, "a key presses, and cannot turn"),
        ("distance", 20, "bend", None, "'bend' with None is no kind"),
    ],
)
def test_what_cannot_be_bound_is_a_sentence(to: str, number: int, kind: Kind, channel: int | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Binding(to, number, kind, channel)


# ---- turning --------------------------------------------------------------------------------------------------------


def test_a_knob_turns_its_parameter_on_every_channel() -> None:
    knobs = Knobs()
    assert knobs.cc(20, 127, channel=5) == [Turned("distance", 1.0)]
    assert knobs.cc(16, 0, 64, 127) == [Turned("transpose", -24), Turned("transpose", 0), Turned("transpose", 24)]
    assert knobs.cc(27, 63, 64) == [Turned("keep_downbeats", 0.0), Turned("keep_downbeats", 1.0)]


def test_a_channel_and_a_clash_keep_knobs_apart() -> None:
    knobs = Knobs(Binding("distance", 20, channel=2), Binding("blend", 20, channel=3), Binding("fill", 20, channel=2))
    assert [b.to for b in knobs.controls.bindings] == ["distance", "blend"]
    assert knobs.cc(20, 127, channel=1) == []
    assert knobs.cc(20, 127, channel=2) == [Turned("distance", 1.0)]
    assert knobs.cc(20, 127, channel=3) == [Turned("blend", 1.0)]


def test_fourteen_bits_are_finer() -> None:
    knobs = Knobs(Binding("distance", 20, "cc14"))
    assert knobs.cc(20, 64) == [Turned("distance", 0.5)]
    assert knobs.cc(52, 1) == [Turned("distance", (64 * 128 + 1) / 16383)]
    assert knobs.cc(20, 65) == []  # from now on the second half is waited for
    assert knobs.cc(52, 0) == [Turned("distance", 65 * 128 / 16383)]
    assert knobs.cc(20, 127) + knobs.cc(52, 127) == [Turned("distance", 1.0)]


@pytest.mark.parametrize(
    ("code", "up", "down"), [("twos_complement", 1, 127), ("binary_offset", 65, 63), ("sign_magnitude", 1, 65)]
)
def test_an_endless_encoder_goes_by_steps_from_where_the_parameter_is(code: Code, up: int, down: int) -> None:
    knobs = Knobs(Binding("distance", 20, code=code), Binding("transpose", 21, code=code), distance=0.5)
    assert knobs.cc(20, up)[0] == Turned("distance", pytest.approx(0.51))
    knobs.values["distance"] = 0.005
    assert knobs.cc(20, down, down) == [Turned("distance", 0.0)]
    assert knobs.cc(21, up, up, down) == [Turned("transpose", n) for n in (1, 2, 1)]


@given(st.sampled_from(CODES), st.integers(0, 127))
def test_codes_tell_up_from_down(code: Code, value: int) -> None:
    assert -64 <= by(code, value) <= 63


def test_a_knob_that_must_pick_up_waits_until_it_is_there() -> None:
    knobs = Knobs(Binding("distance", 20), takeover="pickup", distance=0.5)
    assert knobs.cc(20, 10, 40, 50) == []
    assert knobs.cc(20, 70) == [Turned("distance", 0.5 + 6 / 126)]  # it went past
    assert knobs.cc(20, 100) == [Turned("distance", 0.5 + 36 / 126)]
    knobs.values["distance"] = 0.1  # a preset
    assert knobs.cc(20, 101, 90) == []
    assert knobs.cc(20, 13) == [Turned("distance", 13 / 128)]


def test_a_knob_that_scales_goes_by_a_share_of_what_is_left() -> None:
    knobs = Knobs(Binding("distance", 20), takeover="scale", distance=0.5)
    assert knobs.cc(20, 0) == []  # from here on it is known where it stands
    values = [each.value for each in knobs.cc(20, *range(8, 128, 8), 127) if isinstance(each, Turned)]
    assert values == sorted(values)
    assert values[0] < 0.55
    assert values[-1] == 1.0
    values = [each.value for each in knobs.cc(20, *range(120, -1, -8)) if isinstance(each, Turned)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0.0


@given(
    st.sampled_from(("none", "pickup", "scale")),
    st.lists(st.one_of(st.integers(0, 127), st.floats(0, 1)), max_size=40),
)
def test_no_takeover_leaves_the_range(takeover: Takeover, moves: list[float]) -> None:
    knobs = Knobs(Binding("distance", 20), takeover=takeover)
    for move in moves:
        if isinstance(move, int):
            knobs.cc(20, move)
        else:
            knobs.values["distance"] = move


# ---- pressing -------------------------------------------------------------------------------------------------------


def test_a_button_is_pressed_once_until_it_is_let_go() -> None:
    knobs = Knobs()
    assert knobs.cc(85, 63, 64, 100, 127, 0, 127) == [Pressed("regenerate"), Pressed("regenerate")]
    assert knobs.cc(86, 127, 127, 127) == [Pressed("back")] * 3  # this one never tells that it was let go


def test_a_button_that_stays_is_on_while_it_is_down_or_until_it_is_pressed_again() -> None:
    assert Knobs().cc(23, 127, 0) == [Pressed("freeze", True), Pressed("freeze", False)]
    toggled = Knobs(Binding("freeze", 23, toggles=True))
    assert toggled.cc(23, 127, 0, 127) == [Pressed("freeze", None), Pressed("freeze", None)]


def test_a_key_can_be_a_button() -> None:
    knobs = Knobs(Binding("back", 36, "note", 10), Binding("mute", 37, "note"))
    assert knobs.feed(0x99, 36, 80) == (Pressed("back"),)
    assert knobs.feed(0x99, 36, 0) == ()
    assert knobs.feed(0x90, 36, 80) == ()  # another channel: it is music
    assert knobs.controls.bound(bytes((0x90, 36, 80))) is None
    assert knobs.controls.bound(bytes((0x89, 36, 0))) == Binding("back", 36, "note", 10)
    assert knobs.feed(0x93, 37, 1) + knobs.feed(0x83, 37, 0) == (Pressed("mute", True), Pressed("mute", False))


# ---- learning -------------------------------------------------------------------------------------------------------


def learned(knobs: Knobs, to: str, *messages: tuple[int, int, int]) -> list[Learned]:
    knobs.controls.learn(to)
    return [done for message in messages for done in knobs.feed(*message) if isinstance(done, Learned)]


def moves(number: int, *values: int, channel: int = 1) -> list[tuple[int, int, int]]:
    return [(0xB0 | channel - 1, number, value) for value in values]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ((40, 41, 43, 44), None),
        ((1, 2, 3, 4), None),
        ((64, 66, 67, 70), None),
        ((1, 1, 1, 1), "twos_complement"),
        ((1, 2, 1, 1), "twos_complement"),
        ((65, 65, 66, 65), "binary_offset"),
    ],
)
def test_a_knob_is_learned_by_how_it_moves(values: tuple[int, ...], code: Code | None) -> None:
    knobs = Knobs()
    assert learned(knobs, "blend", *moves(70, *values, channel=3)) == [Learned(Binding("blend", 70, "cc", 3, code))]
    assert [b for b in knobs.controls.bindings if b.to == "blend"] == [Binding("blend", 70, "cc", 3, code)]
    assert knobs.cc(24, 127) == []  # it was this before


def test_a_pair_of_control_changes_is_one_fine_knob() -> None:
    knobs = Knobs()
    pairs = [m for i in range(4) for m in (*moves(9, 40 + i), *moves(41, 17 * i))]
    assert learned(knobs, "fill", *pairs) == [Learned(Binding("fill", 9, "cc14", 1))]


def test_buttons_are_learned_from_keys_and_from_control_changes() -> None:
    knobs = Knobs()
    assert learned(knobs, "mute", (0x94, 60, 90)) == [Learned(Binding("mute", 60, "note", 5, toggles=True))]
    assert learned(knobs, "keep", *moves(50, 127)) == [Learned(Binding("keep", 50, "cc", 1))]
    assert knobs.feed(0x94, 60, 90) == (Pressed("mute", None),)


@pytest.mark.parametrize("number", sorted(ATTACHED))
def test_a_key_that_is_taught_may_send_more_than_a_note(number: int) -> None:
    knobs = Knobs()
    assert learned(knobs, "keep", (0xB2, number, 127), (0x92, 60, 90)) == [Learned(Binding("keep", 60, "note", 3))]


def test_a_knob_that_was_learned_is_asked_about() -> None:
    knobs = Knobs()
    learned(knobs, "blend", *moves(70, 40, 41, 42, 43))
    asked = learned(knobs, "fill", *moves(70, 44, 45, 46, 47, 48, 49))
    assert asked == [Learned(Binding("fill", 70, "cc", 1), instead="blend")]
    assert knobs.controls.take() == Learned(Binding("fill", 70, "cc", 1))
    assert knobs.controls.take() is None
    assert [type(done) for done in knobs.cc(70, 0)] == [Turned]
    assert "blend" not in {b.to for b in knobs.controls.bindings}


def test_while_something_else_is_learned_the_knobs_still_turn() -> None:
    knobs = Knobs()
    knobs.controls.learn("keep")
    assert knobs.feed(0xB0, 64, 127) == ()  # the pedal is not learned
    assert knobs.controls.feed(bytes((0x90, 60, 90))) == (Learned(Binding("keep", 60, "note", 1)),)
    with pytest.raises(ValueError, match="no parameter"):
        knobs.controls.learn("distanze")
    knobs.controls.learn("blend")
    knobs.controls.learn(None)
    assert knobs.cc(20, 127) == [Turned("distance", 1.0)]


def test_what_is_forgotten_turns_nothing() -> None:
    knobs = Knobs(Binding("distance", 33), Binding("fill", 29))
    assert knobs.controls.forget("distance")
    assert knobs.cc(33, 127) == []
    # What was never learned cannot be forgotten.
    assert not knobs.controls.forget("distance")
    assert not knobs.controls.forget("fill")
    assert knobs.cc(29, 127) == [Turned("fill", 1.0)]


# ---- showing --------------------------------------------------------------------------------------------------------


def test_values_are_shown_where_they_are_turned() -> None:
    knobs = Knobs(
        Binding("distance", 20, channel=4),
        Binding("blend", 9, "cc14"),
        Binding("fill", 21, code="binary_offset"),
        Binding("mute", 60, "note", 10),
    )
    assert knobs.controls.shown("distance", 1.0) == (bytes((0xB3, 20, 127)),)
    assert knobs.controls.shown("blend", 1.0) == (bytes((0xB0, 9, 127)), bytes((0xB0, 41, 127)))
    assert knobs.controls.shown("fill", 1.0) == ()  # it stands nowhere
    assert knobs.controls.shown("mute", 1.0) == (bytes((0x99, 60, 127)),)
    assert knobs.controls.shown("mute", 0.0) == (bytes((0x99, 60, 0)),)
