"""Makes a dataset from parts: settles the splits over all of them, and writes shards and manifest."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rtgen.errors import UserError
from train.loops.dataset import FORMAT, MANIFEST, SPLITS
from train.loops.storage import Folder
from train.prepare.cut import Classes, Cutting, Ints
from train.prepare.findings import Report

SHARD = 100_000
"""Loops per shard."""


def finish(from_parts: Folder, parts: Sequence[str], folder: Folder, cutting: Cutting, report: Report) -> None:
    """Settles the splits over all parts, and writes shards and manifest.

    Args:
        from_parts: folder of the parts.
        parts: their names, in the order of their sources.
        folder: for the dataset; an existing one is replaced.
        cutting: how the loops were cut.
        report: report of the preparation; loop counts are added to it.

    Raises:
        UserError: there are no loops, or `folder` cannot be written.
    """
    splits, keep, duplicate = settle(from_parts, parts)
    if not keep.any():
        raise UserError(_nothing(cutting, report))
    tables = _finished(from_parts, parts, splits, keep, duplicate, report)
    shards = []
    for number, table in enumerate(_even(tables)):
        shards.append(f"loops-{number:05d}.parquet")
        from_parts.write(shards[-1], partial(pq.write_table, table, compression="zstd"))
    about_it = {"format": FORMAT, "cutting": asdict(cutting), "shards": shards, "report": report.to_json()}
    text = json.dumps(about_it, indent=1, sort_keys=True, ensure_ascii=False).encode()
    # Remove the manifest first, so that nobody reads old and new shards together.
    folder.remove(MANIFEST)
    for old in folder.names():
        if re.fullmatch(r"loops(-\d+)?\.parquet", old) and old not in shards:
            folder.remove(old)
    for name in shards:
        from_parts.move(name, folder)
    folder.write(MANIFEST, lambda file: file.write(text))


def settle(folder: Folder, parts: Sequence[str]) -> tuple[NDArray[np.int8], NDArray[np.bool_], NDArray[np.bool_]]:
    """For every loop in the parts: its split (index in `SPLITS`), whether it is kept, whether it is a duplicate."""
    columns = ["set", "song", "split", "loop_class", "song_class"]
    tables = [pq.read_table(folder.at(p), columns=columns, filesystem=folder.system) for p in parts]
    given, classes, song_classes = (
        np.concatenate([_codes(t["split"]) for t in tables]),
        np.concatenate([t["loop_class"].to_numpy() for t in tables]),
        np.concatenate([t["song_class"].to_numpy() for t in tables]),
    )
    song = _numbered(tables)
    first = np.searchsorted(song, np.arange(song[-1] + 1 if len(song) else 0))
    family = families(song, classes)
    code = splits_of(given[first], song_classes[first], family)[song]
    # Sort loops that are equal up to transposition by split, most held-out first, then by the order of the parts.
    order = np.lexsort((code, classes))
    sorted_classes, sorted_codes = classes[order], code[order]
    fresh = np.append(True, sorted_classes[1:] != sorted_classes[:-1])[: len(order)]
    best = sorted_codes[fresh][np.cumsum(fresh) - 1]
    keep, duplicate = np.zeros(len(order), bool), np.zeros(len(order), bool)
    keep[order] = sorted_codes == best
    duplicate[order] = ~fresh
    return code, keep, duplicate


def _codes(splits: pa.ChunkedArray) -> NDArray[np.int8]:
    """Indices in `SPLITS`; -1 if no split is given."""
    found = pc.index_in(splits.cast(pa.string()), pa.array(SPLITS))
    codes: NDArray[np.int8] = pc.fill_null(found, -1).to_numpy().astype(np.int8)
    return codes


def _numbered(tables: Sequence[pa.Table]) -> Ints:
    """Song number of each loop, counted over all parts; a song is in only one part."""
    found, count = [], 0
    for table in tables:
        sets, songs = (table[name].combine_chunks().indices.to_numpy().astype(np.int64) for name in ("set", "song"))
        names, numbers = np.unique(sets << 32 | songs, return_inverse=True)
        found.append(numbers + count)
        count += len(names)
    return np.concatenate(found)


def families(song: Ints, classes: Classes) -> Ints:
    """Groups near-identical songs: the first song of each song's family, or the song itself.

    If at least half of a song's distinct loops occur first in one other song, it belongs to that song's family.

    Args:
        song: song number of each loop, ascending from 0.
        classes: hash of each loop.
    """
    count = int(song[-1]) + 1 if len(song) else 0
    order = np.lexsort((song, classes))
    song, classes = song[order], classes[order]
    fresh = np.append(True, classes[1:] != classes[:-1])[: len(order)]
    first = song[fresh][np.cumsum(fresh) - 1]
    distinct = fresh | np.append(True, song[1:] != song[:-1])[: len(order)]
    song, first = song[distinct], first[distinct]
    pairs, shared = np.unique(song * count + first, return_counts=True)
    own, other = np.divmod(pairs, max(count, 1))
    near = 2 * shared >= np.bincount(song, minlength=count)[own]
    root = np.arange(count)
    root[own[near][::-1]] = other[near][::-1]  # of two candidates, the first
    # The earlier song may itself belong to a family.
    while np.any(root[root] != root):
        root = root[root]
    return root


def splits_of(given: NDArray[np.int8], classes: Classes, family: Ints) -> NDArray[np.int8]:
    """Split of each song: the given one, else its family's, else by hash, which is as good as random.

    5 % go to test and 5 % to valid. With few songs a split may be empty; then the training family with the lowest hash
    goes there.

    Args:
        given: index in `SPLITS`; -1 if no split is given.
        classes: hashes of the songs.
        family: from `families`.
    """
    share = classes[family] / 2**64
    chance = np.searchsorted([0.05, 0.10], share, side="right").astype(np.int8)
    code = np.where(given >= 0, given, np.where(given[family] >= 0, given[family], chance)).astype(np.int8)
    for split in (SPLITS.index("valid"), SPLITS.index("test")):
        training = np.unique(share[(code == SPLITS.index("train")) & (given < 0)])
        if not np.any(code == split) and len(training) > 1:
            code[(share == training[0]) & (given < 0)] = split
    return code


def _finished(
    folder: Folder,
    parts: Sequence[str],
    splits: NDArray[np.int8],
    keep: NDArray[np.bool_],
    duplicate: NDArray[np.bool_],
    report: Report,
) -> Iterator[pa.Table]:
    """Yields the loops to keep of each part, with split and duplicate columns; counts loops in `report`."""
    done = 0
    for part in parts:
        table = pq.read_table(folder.at(part), filesystem=folder.system).replace_schema_metadata()
        own = slice(done, done + len(table))
        done = own.stop
        split = pa.DictionaryArray.from_arrays(pa.array(splits[own].astype(np.int32)), pa.array(SPLITS))
        table = table.set_column(table.schema.get_field_index("split"), "split", split)
        table = table.append_column("duplicate", pa.array(duplicate[own]))
        kept = table.filter(pa.array(keep[own]))
        for (name, split_name, again), count in Counter(
            zip(*(kept[c].to_pylist() for c in ("set", "split", "duplicate")), strict=True)
        ).items():
            report.loops.setdefault(name, Counter())[split_name] += count
            report.duplicates[name] += count * again
        report.left_out.update(table.filter(pa.array(~keep[own]))["set"].to_pylist())
        yield kept


def _even(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Regroups rows into tables of `SHARD` rows; the last has the remainder."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += len(table)
        while count >= SHARD:
            whole = pa.concat_tables(waiting).unify_dictionaries()
            yield whole.slice(0, SHARD)
            waiting, count = [whole.slice(SHARD)], count - SHARD
    if count:
        yield pa.concat_tables(waiting).unify_dictionaries()


def _nothing(cutting: Cutting, report: Report) -> str:
    first = next((f"; {song}: {why}" for _, song, why in sorted(report.skipped)), "")
    return (
        f"no loops of {cutting.bars} bars were found in {report.files.total()} files{first}; "
        "give files with more music, or try --keep-last or --bars 1"
    )
