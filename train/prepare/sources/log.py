"""Reader for session logs: reads what was played to rtgen, not its answers."""

from __future__ import annotations

from collections import Counter

from rtgen.errors import UserError
from rtgen.rig.kept import journal, replay
from train.prepare.sources.find import Source
from train.prepare.sources.piece import Piece, Reading, part


def read(source: Source) -> Reading:
    """Reads the music that was played in a session, aligned to its clock.

    Raises:
        UserError: the log cannot be read, or nothing was played.
    """
    data = source.bytes()
    if data is None:
        raise UserError(f"{source.name} does not exist; check the path")
    opening, steps = journal.parse(data, source.name)
    score = replay.of(opening, steps).score
    notes = score.tracks[0].notes()
    if not notes:
        raise UserError(f"{source.name}: nothing was played in this session; leave it out")
    bar = score.metres[0][1].bar
    length = -(-max(note.end for note in notes) // bar) * bar
    piece = Piece((("played", part(notes)),), ((0, length),), bar, round(score.tempos[0][1], 3))
    return Reading((piece,), Counter({"session log": 1}))
