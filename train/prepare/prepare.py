"""Makes a dataset from music files: chunks of files become parts on all cores, parts become shards and a manifest.

A part is a Parquet file with the loops of some dozens of files. Its name is a hash of what it was made from, so an
interrupted preparation resumes with the missing parts. When all parts exist, the splits are settled over all of them
and the shards written in the order of set, song, track and start; the same sources give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtgen.errors import UserError
from rtgen.music.time import PPQN
from train.loops.dataset import FIELDS, FORMAT, about
from train.loops.storage import Folder
from train.prepare import pool
from train.prepare.cut import Classes, Cut, Cutting, cut, loop_classes, song_class
from train.prepare.findings import Report
from train.prepare.shards import finish
from train.prepare.sources.find import Source, read
from train.prepare.sources.piece import BAR, Piece

PARTS = "parts"
_LARGEST_CHUNK = 128
"""Files per chunk."""
MAX_WORK = 2_000_000
"""Loops and notes to cut in a file, over all its voices and metres; real files have a hundredth of it."""
_TELL = b"rtgen"
"""Metadata key of a part's report."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A unit of work: some files and the part made from them.

    Args:
        sources: the files.
        cutting: how to cut them.
        folder: of the part; a path or URL.
        part: file name of the part.
    """

    sources: tuple[Source, ...]
    cutting: Cutting
    folder: str
    part: str


def given_split(set_name: str, song: str) -> str | None:
    """The predefined split of a song; None if its set defines none.

    POP909 is split by number: 701 and up test, 651-700 valid. Files of Bach chorales are named after their split.
    """
    number = re.search(r"(\d{3})\.mid$", song)
    if set_name == "pop909" and number:
        return "test" if int(number[1]) > 700 else "valid" if int(number[1]) > 650 else "train"
    named = re.search(r"(train|valid|test)_\d+\.mid$", song)
    return named[1] if set_name.startswith("jsb-chorales") and named else None


def pieces_of(source: Source, cutting: Cutting, report: Report) -> list[Piece]:
    """Reads the pieces of a file that are to be cut; records in `report` what is not."""
    name = source.set_name
    report.files[name] += 1
    try:
        reading = read(source)
    except UserError as error:
        report.skipped.append((name, source.song, str(error).removeprefix(f"{source.name} ")))
        return []
    for fact, times in reading.facts.items():
        report.tell(name, fact, times)
    found = []
    for piece in reading.pieces:
        metre = f"metre of {piece.bar / PPQN:g} beats per bar"
        if piece.drums and not cutting.drums:
            report.skipped.append((name, source.song, "only drums (--drums keeps them)"))
            return []
        if cutting.metres != "all" and piece.bar != BAR:
            report.tell(name, f"{metre} left out")
            continue
        if piece.bar != BAR:
            report.tell(name, f"{metre} kept")
        short = sum(length < cutting.bars * piece.bar for _, length in piece.stretches)
        if short and not cutting.keep_last:
            report.tell(name, "stretch shorter than a loop left out (--keep-last keeps it)", short)
        found.append(piece)
    if not found:
        report.skipped.append((name, source.song, "nothing to cut"))
    if sum(_work(piece, cutting) for piece in found) > MAX_WORK:
        report.skipped.append((name, source.song, "too long for its metres and its number of tracks; cut it to parts"))
        return []
    return found


def _work(piece: Piece, cutting: Cutting) -> int:
    """How many loops and notes cutting a piece goes through: each track, and all of them together."""
    loops = sum(length // (cutting.bars * piece.bar) + 1 for _, length in piece.stretches)
    return loops * (len(piece.tracks) + 1) + 2 * sum(notes.shape[1] for _, notes in piece.tracks)


def rows(sources: Sequence[Source], cutting: Cutting) -> tuple[pa.Table, Report]:
    """Cuts some files; returns their loops as a table, and a report."""
    report, voices, owners, classes = Report(), list[tuple[str, Piece, Any]](), list[int](), list[int]()
    for i, source in enumerate(sources):
        pieces = pieces_of(source, cutting, report)
        classes.append(song_class([notes for piece in pieces for _, notes in piece.tracks]))
        found = [(label, piece, notes) for piece in pieces for label, notes in piece.voices()]
        voices += sorted(found, key=lambda voice: voice[0])
        owners += [i] * len(found)
    loops = cut([(piece, notes) for _, piece, notes in voices], cutting)
    table = _table(loops, sources, owners, voices, np.array(classes, np.uint64))
    used = set(np.array(owners, np.int64)[loops.voice].tolist())
    for i in set(owners):
        if i in used:
            report.songs[sources[i].set_name] += 1
        else:
            report.skipped.append((sources[i].set_name, sources[i].song, "too short, or too few notes"))
    return table, report


def _table(
    loops: Cut, sources: Sequence[Source], owners: Sequence[int], voices: Sequence[tuple[str, Piece, Any]], of: Classes
) -> pa.Table:
    owner = np.array(owners, np.int64)[loops.voice]
    labels = sorted({label for label, _, _ in voices})
    rank = {label: i for i, label in enumerate(labels)}
    label = np.array([rank[name] for name, _, _ in voices], np.int64)[loops.voice]
    tempo = np.array([piece.tempo for _, piece, _ in voices], np.float32)[loops.voice]
    splits = [given_split(s.set_name, s.song) for s in sources]

    def named(names: Sequence[str], which: NDArray[np.int64]) -> pa.Array:
        known = sorted(set(names))
        at = np.array([known.index(name) for name in names], np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(at[which]), pa.array(known, pa.string()))

    columns = {
        "set": named([s.set_name for s in sources], owner),
        "song": named([s.song for s in sources], owner),
        "track": pa.DictionaryArray.from_arrays(pa.array(label.astype(np.int32)), pa.array(labels, pa.string())),
        **{name: pa.array(getattr(loops, name).astype(np.int32)) for name in ("start", "length", "bar", "filled")},
        "tempo": pa.array(tempo),
        **{
            name: pa.ListArray.from_arrays(pa.array(loops.offsets.astype(np.int32)), pa.array(values.astype(np.int32)))
            for name, values in zip(FIELDS, loops.notes, strict=True)
        },
        "loop_class": pa.array(loop_classes(loops)),
        "song_class": pa.array(of[owner]),
        "split": pa.array(splits, pa.string()).dictionary_encode().take(pa.array(owner)),
        "licence": named([about(s.set_name).licence for s in sources], owner),
    }
    # In a song with several metres, the loops of a track come from several voices.
    order = np.lexsort((loops.start, label, owner))
    return pa.table(columns).take(pa.array(order))


def work(chunk: Chunk) -> Report:
    """Makes a chunk's part unless it exists; this is all that a worker does, on any machine.

    Raises:
        UserError: the part cannot be written.
    """
    folder = Folder(chunk.folder)
    if folder.has(chunk.part):
        with folder.system.open(folder.at(chunk.part), "rb") as file:
            return Report.from_json(json.loads(pq.read_schema(file).metadata[_TELL]))
    table, report = rows(chunk.sources, chunk.cutting)
    told = json.dumps(report.to_json()).encode()
    table = table.replace_schema_metadata({_TELL: told})
    folder.write(chunk.part, lambda file: pq.write_table(table, file, compression="zstd"))
    return report


def chunks(sources: Sequence[Source], folder: str, cutting: Cutting) -> list[Chunk]:
    """Divides the work into chunks; order and names depend only on the sources and on how they are cut."""
    size = max(1, min(_LARGEST_CHUNK, len(sources) // 32))
    found = []
    for i in range(0, len(sources), size):
        some = tuple(sources[i : i + size])
        made_of = [FORMAT, asdict(cutting), [(s.root, s.member, *s.state()) for s in some]]
        name = blake2b(json.dumps(made_of).encode(), digest_size=8).hexdigest()
        found.append(Chunk(some, cutting, folder, f"{i // size:06d}-{name}.parquet"))
    return found


Engine = Callable[[Callable[[Chunk], Report], Sequence[Chunk]], Iterable[tuple[Chunk, Report]]]
"""Does the work in any order and yields each chunk with its report when done."""


def prepare(
    sources: Sequence[Source],
    out: str | Path,
    cutting: Cutting | None = None,
    progress: Callable[[int], None] = lambda _files: None,
    engine: Engine = pool.run,
) -> Report:
    """Reads `sources` and writes a dataset to `out`; resumes an interrupted preparation of the same sources.

    Args:
        sources: from `train.prepare.sources.find.find`.
        out: output folder, created if missing; a path, or a URL that fsspec supports. A dataset in it is replaced.
        cutting: how to cut; two-bar loops by default.
        progress: called with the number of files just done.
        engine: does the work.

    Raises:
        UserError: nothing usable was found, or `out` cannot be written.
    """
    cutting, folder = cutting or Cutting(), Folder(out)
    todo, report = chunks(sources, folder.sub(PARTS).name, cutting), Report()
    for chunk, told in engine(work, todo):
        report.add(told)
        progress(len(chunk.sources))
    finish(folder.sub(PARTS), [chunk.part for chunk in todo], folder, cutting, report)
    folder.sub(PARTS).clear()
    return report
