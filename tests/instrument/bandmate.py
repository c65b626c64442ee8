"""Plans as a model might make them that plays along, without one: for tests of what a session does with them."""

from __future__ import annotations

from rtgen.instrument.job import HalfBeat, Piece, Plan
from rtgen.music.note import Note
from rtgen.music.parts import PARTS
from rtgen.music.time import HALF


def planned(half: HalfBeat, up: int = 0, certain: int = 1, more: int = 2) -> Plan:
    """What every part plays after a half beat: a note or two in each piece, some of which last for a bar.

    Args:
        half: what was played.
        up: makes one plan differ from another.
        certain: how many pieces are committed.
        more: how many are planned beyond them.
    """
    ahead = round(half.knobs.get("ahead", 2))
    since = half.since if half.notes is None else half.number + 1 + ahead
    pieces = []
    for number in range(since, since + certain + more):
        root = (half.left or (36 + up,))[0] % 24 + 24
        notes = [
            (part, Note((up * 40) % HALF, root + 12 * i + number % 3, HALF * (1 + number % 8), 60 + up))
            for i, part in enumerate(PARTS)
            if (number + i) % 3 != up % 3
        ]
        ends = tuple(part for i, part in enumerate(PARTS) if (number + i) % 2)
        pieces.append(Piece("C", tuple(notes), ends))
    return Plan(half.epoch, half.number, since, certain, tuple(pieces))
