"""The parts of a band that plays along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from rtgen.music.note import Note

Part = Literal["bass", "comping", "drums", "second"]
"""A bass, chords, a beat, and a second voice to a melody."""
PARTS: tuple[Part, ...] = get_args(Part)
CHANNELS: Mapping[Part, int] = {"bass": 2, "comping": 3, "drums": 10, "second": 4}
"""The MIDI channel, 1-16, that each is sent on by default."""
PROGRAMS: Mapping[Part, int] = {"bass": 33, "comping": 4}
"""General MIDI's sound for each in a file, from 0: electric bass (finger), electric piano."""
STYLES: Mapping[Part, tuple[str, ...]] = {
    "bass": ("free", "roots", "pulse", "walking"),
    "comping": ("free", "held", "beats", "off beats", "broken"),
    "drums": ("free", "straight", "four", "half", "swing"),
    "second": ("free", "thirds", "sixths"),
}
"""How each can be played; `free` goes with the melody."""
Struck = tuple[Part, Note]
"""A note, and the part that plays it."""
