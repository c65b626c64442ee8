from __future__ import annotations

import pytest

from rtgen.instrument.controls import BY_CC, HOLD_CC, PARAMETERS, STORE_CCS
from rtgen.music.attributes import NAMES


def test_no_two_knobs_share_a_control_change_and_none_is_a_pedal_or_a_panic() -> None:
    numbers = [p.cc for p in PARAMETERS.values()]
    assert len(set(numbers)) == len(numbers)
    assert not set(numbers) & {HOLD_CC, *STORE_CCS, 1, 7, 10, 11, 64, 120, 121, 122, 123}
    assert set(BY_CC) == set(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_the_middle_of_a_knob_for_an_attribute_is_as_played(name: str) -> None:
    parameter = PARAMETERS[name]
    turned = [parameter.from_cc(value) for value in range(128)]
    assert (turned[0], turned[64], turned[127]) == (0.0, parameter.default, 1.0)
    assert turned == sorted(set(turned))
