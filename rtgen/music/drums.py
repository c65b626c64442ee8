"""Drum pitches, as in the General MIDI Percussion Key Map."""

from __future__ import annotations

from collections.abc import Mapping

TAP = 75
"""Pitch that encodes a tapped rhythm for a model: claves, which no drum kit has."""
GENERAL_MIDI: Mapping[int, int] = {22: 42, 26: 46}
"""General MIDI pitches for the hi-hat edges of some electronic kits."""
