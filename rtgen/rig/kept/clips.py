"""Clips: kept answers, each a `.mid` file of its loop's length, to drag into a track."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rtgen.errors import UserError
from rtgen.instrument.preset import Preset
from rtgen.music import key
from rtgen.music.files import Score, Track, loop_events, write
from rtgen.music.note import Loop

_LONGEST = 120
"""Bytes of a preset's name in a clip's: a file name has at most 255, of which its writing takes some."""


def keep(loop: Loop, preset: Preset, tempo: float, where: Path, when: datetime) -> Path:
    """Writes a clip with what shapes its notes, named by time, key, tempo and preset; never overwrites a file.

    Raises:
        UserError: the folder cannot be written.
    """
    scale = key.estimate(loop.notes)
    short = preset.name.encode(errors="replace")[:_LONGEST].decode(errors="ignore")
    name = f"{when:%Y-%m-%d %H.%M.%S} {scale or 'no key'} {tempo:.0f} BPM {short}"
    track = Track(preset.name, tuple(loop_events(loop, preset.channel - 1)))
    score = Score((track,), ((0, tempo),), ((0, preset.metre),), length=loop.length)
    try:
        where.mkdir(parents=True, exist_ok=True)
        path = _free(where, name)
    except OSError as error:
        raise UserError(
            f"The clip folder {where} cannot be written ({error.strerror}); choose another with --clips"
        ) from error
    try:
        write(path, score)
    except UserError:
        path.unlink(missing_ok=True)
        raise
    return path


def _free(where: Path, name: str) -> Path:
    """Creates a file with an unused name, as another rtgen may keep a clip at the same moment."""
    number = 1
    while True:
        path = where / (f"{name}.mid" if number == 1 else f"{name} {number}.mid")
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return path
