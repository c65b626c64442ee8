"""Answers that are to be kept as clips: one that still comes in parts waits until all of it is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rtgen.instrument.answers import Begun
from rtgen.instrument.notices import KeepAnswer
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop

_PARTS_S = 4.0
"""Parts are not waited for longer than this: their process may have died."""


class Keeping:
    """Makes the requests for clips, and holds the last one back while more of its answer is to come."""

    def __init__(self) -> None:
        # Of which answer, the request, and by when it is made at the latest.
        self._waits: tuple[Begun, KeepAnswer, float] | None = None

    @property
    def waits(self) -> bool:
        """Whether a request is held back."""
        return self._waits is not None

    def keep(
        self, now: float, loops: Sequence[Loop | None], preset: Preset, tempo: float, begun: Begun | None
    ) -> list[KeepAnswer]:
        """Return the requests that can be made at once.

        Args:
            now: seconds.
            loops: the answers, the present one last; None stands for none.
            preset: that made them.
            tempo: BPM.
            begun: the present answer while parts of it are to come.
        """
        count = len(loops)
        kept = [KeepAnswer(loop, preset, tempo, number, count) for number, loop in enumerate(loops, 1)]
        if begun is not None:
            self._waits = begun, kept.pop(), now + _PARTS_S
        return kept

    def extend(self, begun: Begun, loop: Loop) -> None:
        """Note that an answer is longer by a part."""
        if self._waits is not None and self._waits[0] is begun:
            self._waits = begun, replace(self._waits[1], loop=loop), self._waits[2]

    def due(self, now: float, begun: Begun | None) -> list[KeepAnswer]:
        """Return the request that was held back, if its answer is not the one that has `begun`, or took too long."""
        if self._waits is None or (begun is self._waits[0] and now < self._waits[2]):
            return []
        request, self._waits = self._waits[1], None
        return [request]
