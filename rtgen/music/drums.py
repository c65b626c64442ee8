"""Where General MIDI has drums: their channel, and the pitches of its Percussion Key Map."""

from __future__ import annotations

from collections.abc import Mapping

CHANNEL = 9
"""Channel 10, counted from 0."""
TAP = 75
"""Pitch that encodes a tapped rhythm for a model: claves, which no drum kit has."""
GENERAL_MIDI: Mapping[int, int] = {22: 42, 26: 46}
"""General MIDI pitches for the hi-hat edges of some electronic kits."""
