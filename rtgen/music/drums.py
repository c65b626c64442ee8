"""Drums as MIDI has them: a pitch for each (General MIDI, Percussion Key Map)."""

from __future__ import annotations

from collections.abc import Mapping

TAP = 75
"""The pitch on which a model is told a rhythm that was tapped: the claves, which no drum kit has."""
GENERAL_MIDI: Mapping[int, int] = {22: 42, 26: 46}
"""What the edges of the hi-hats of some electronic kits are in General MIDI."""
