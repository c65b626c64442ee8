from __future__ import annotations

import pytest

from rtgen.errors import UserError
from rtgen.rig.ports import match

NAMES = ["Keystation 49 MK3 MIDI 1", "Keystation 49 MK3 MIDI 2", "IAC Driver Bus 1", "iac"]


@pytest.mark.parametrize(("wanted", "index"), [("bus", 2), ("MIDI 2", 1), ("iac", 3), ("Keystation 49 MK3 MIDI 1", 0)])
def test_a_part_of_the_name_is_enough_where_it_is_clear(wanted: str, index: int) -> None:
    assert match(wanted, NAMES, "input") == index


def test_what_is_ambiguous_is_asked_about_or_refused() -> None:
    assert match("keystation", NAMES, "input", lambda _, several: several[1]) == 1
    with pytest.raises(UserError, match=r"may be any of the MIDI inputs .*give more of its name"):
        match("keystation", NAMES, "input")


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(UserError, match=r"No MIDI output is called 'nord'.*'IAC Driver Bus 1'.*rtgen ports"):
        match("nord", NAMES, "output")
    with pytest.raises(UserError, match="there are: none"):
        match("nord", [], "output")
