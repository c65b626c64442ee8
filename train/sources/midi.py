"""Reader for `.mid` files: in folders, in zip archives, or one by one.

POP909 (Wang et al., 2020) keeps the true beats of each song in a `beat_midi.txt` beside the `.mid`, whose own tempo and
metre are not the beat. Where there is such a file, the notes are warped to it.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.music import files
from rtgen.music.note import Note
from rtgen.music.time import PPQN, Metre
from train.sources.piece import BAR, Piece

SUFFIXES = (".mid", ".midi")
BEATS = "beat_midi.txt"
MAX_MEMBERS = 200_000
"""An archive of more files is refused."""
_DRUMS = 9
"""The channel that General MIDI gives to drums, counted from 0."""


class OtherMetreError(UserError):
    """The music is not in 4/4, which is all that is read for now."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one MIDI file lies.

    Args:
        root: the file itself, the folder or the archive that was named.
        member: path within the folder or archive, with forward slashes; empty for a file named by itself.
    """

    root: Path
    member: str = ""

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self.root.name}/{self.member}" if self.member else self.root.name

    @property
    def set_name(self) -> str:
        """The set it belongs to: the folder or archive that was named."""
        return self.root.parent.name if not self.member else self.root.name.removesuffix(".zip")

    def beside(self, name: str) -> Source:
        """Another file in the same folder."""
        if not self.member:
            return Source(self.root.with_name(name))
        return Source(self.root, str(PurePosixPath(self.member).with_name(name)))

    def bytes(self) -> bytes | None:
        """What is in it; None when there is no such file.

        Raises:
            UserError: it is too large or cannot be unpacked.
        """
        if self.root.suffix == ".zip":
            return _unpack(self.root, self.member)
        path = self.root / self.member if self.member else self.root
        if not path.is_file():
            return None
        if path.stat().st_size > files.MAX_BYTES:
            raise UserError(f"{self.name} is larger than {files.MAX_BYTES >> 20} MB; leave it out")
        return path.read_bytes()


@lru_cache(maxsize=8)
def _archive(path: Path, process: int) -> zipfile.ZipFile:  # noqa: ARG001  (a part of the cache's key)
    """An open archive. Forked processes must not share one: they would share its place in the file."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path} is not a readable zip archive ({error}); download it again") from error
    if len(archive.infolist()) > MAX_MEMBERS:
        raise UserError(f"{path} holds more than {MAX_MEMBERS} files; unpack what you need of it")
    return archive


def _unpack(path: Path, member: str) -> bytes | None:
    archive = _archive(path, os.getpid())
    try:
        with archive.open(member) as file:
            # Read to the cap, not to the size that the archive claims, which may be a lie.
            data = file.read(files.MAX_BYTES + 1)
    except KeyError:
        return None
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise UserError(f"{path.name}/{member} cannot be unpacked ({error})") from error
    if len(data) > files.MAX_BYTES:
        raise UserError(f"{path.name}/{member} is larger than {files.MAX_BYTES >> 20} MB; leave it out")
    return data


def find(paths: Sequence[Path]) -> list[Source]:
    """The MIDI files that `paths` (folders, zip archives, files) hold, in a fixed order.

    Raises:
        UserError: a path does not exist, or an archive is damaged.
    """
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            members = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
            found += [Source(path, m) for m in members if m.lower().endswith(SUFFIXES)]
        elif path.suffix == ".zip" and path.is_file():
            found += [
                Source(path, m) for m in sorted(_archive(path, os.getpid()).namelist()) if m.lower().endswith(SUFFIXES)
            ]
        elif path.is_file():
            found.append(Source(path))
        else:
            raise UserError(f"{path} does not exist; name a .mid file, a folder or a .zip of them")
    return found


def read(source: Source) -> Piece:
    """The piece in a MIDI file.

    Raises:
        OtherMetreError: it has no bars of 4/4.
        UserError: it cannot be read.
    """
    data = source.bytes()
    if data is None:
        raise UserError(f"{source.name} does not exist; check the path")
    score = files.read(io.BytesIO(data), source.name)
    tracks = [(t.name, _without_drums(t.events)) for t in score.tracks]
    tracks = [(name, notes) for name, notes in tracks if notes]
    if not tracks:
        raise UserError(f"{source.name} holds drums only")
    end = max(n.end for _, notes in tracks for n in notes)
    beats = source.beside(BEATS).bytes()
    if beats is None:
        downbeats = _downbeats(score.metres, end)
    else:
        times, bars = parse_beats(beats.decode("utf-8", "replace"), source.name)
        tracks = [(name, warp(notes, score.tempos, times)) for name, notes in tracks]
        downbeats = tuple(int(b) * PPQN for b in np.flatnonzero(bars))
    if not downbeats:
        raise OtherMetreError(f"{source.name} has no bars of 4/4")
    name = source.member or source.root.name
    return Piece(name, tuple((n, tuple(notes)) for n, notes in tracks), downbeats)


def _without_drums(events: Iterable[files.Event]) -> list[Note]:
    return files.notes_of(e for e in events if e.data[0] & 0x0F != _DRUMS)


def _downbeats(metres: Sequence[tuple[int, Metre]], end: int) -> tuple[int, ...]:
    """Downbeats of the stretches in 4/4; the one after the last bar closes it."""
    stops = [tick for tick, _ in metres[1:]] + [-(-end // BAR) * BAR]
    found: list[int] = []
    for (start, metre), stop in zip(metres, stops, strict=True):
        if metre == Metre(4, 4):
            found += range(start, max(stop, start + BAR) + 1, BAR)
    return tuple(sorted(set(found)))


def parse_beats(text: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Beat times in seconds and whether each is the downbeat of a 4/4 bar: columns 1 and 3 of a `beat_midi.txt`.

    Raises:
        UserError: it is not such a file.
    """
    try:
        rows = np.array([[float(f) for f in line.split()[:3]] for line in text.splitlines() if line.strip()])
        times, downbeats = rows[:, 0], rows[:, 2] == 1.0
    except (ValueError, IndexError):
        raise UserError(f"the {BEATS} beside {name} is not readable; leave it out or repair it") from None
    if len(times) < 2 or not np.all(np.diff(times) > 0):
        raise UserError(f"the {BEATS} beside {name} has no ascending beats; leave it out or repair it")
    return times, downbeats


def seconds_at(ticks: NDArray[np.int64], tempos: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
    """Seconds at which `ticks` come, by a tempo map of (tick, BPM)."""
    marks = np.array([tick for tick, _ in tempos], np.int64)
    per_tick = np.array([60.0 / (bpm * PPQN) for _, bpm in tempos])
    passed = np.concatenate([[0.0], np.cumsum(np.diff(marks) * per_tick[:-1])])
    part = np.maximum(np.searchsorted(marks, ticks, side="right") - 1, 0)
    seconds: NDArray[np.float64] = passed[part] + (ticks - marks[part]) * per_tick[part]
    return seconds


def warp(notes: Sequence[Note], tempos: Sequence[tuple[int, float]], beats: NDArray[np.float64]) -> list[Note]:
    """`notes` with beat number n of `beats` (seconds) at tick 480 n; sorted.

    Before the first and after the last beat the nearest beat's length goes on. Notes before the first beat have
    negative onsets.
    """
    ticks = np.array([(n.onset, n.end) for n in notes], np.int64).reshape(-1, 2)
    seconds = seconds_at(ticks, tempos)
    beat = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(beats) - 2)
    warped = np.rint((beat + (seconds - beats[beat]) / (beats[beat + 1] - beats[beat])) * PPQN).astype(int)
    return sorted(
        Note(int(onset), note.pitch, max(int(end - onset), 1), note.velocity)
        for note, (onset, end) in zip(notes, warped, strict=True)
    )
