"""Parts become a dataset: the splits are settled over all of them, and shards and manifest are written."""

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
from train.cut import Classes, Cutting
from train.dataset import FORMAT, MANIFEST, SPLITS
from train.findings import Report
from train.storage import Folder

SHARD = 100_000
"""Loops in a shard."""


def finish(from_parts: Folder, parts: Sequence[str], folder: Folder, cutting: Cutting, report: Report) -> None:
    """Settles the splits over all parts, and writes shards and manifest.

    Args:
        from_parts: where the parts are.
        parts: their names, in the order of their sources.
        folder: for the dataset; one that is there is replaced.
        cutting: how the loops were cut.
        report: what there is to tell; the loops are counted in it.

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
    # Without a manifest there is no dataset: nobody reads old and new shards together.
    folder.remove(MANIFEST)
    for old in folder.names():
        if re.fullmatch(r"loops(-\d+)?\.parquet", old) and old not in shards:
            folder.remove(old)
    for name in shards:
        from_parts.move(name, folder)
    folder.write(MANIFEST, lambda file: file.write(text))


def settle(folder: Folder, parts: Sequence[str]) -> tuple[NDArray[np.int8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Of every loop in the parts: its split (index in `SPLITS`), whether it is kept, and whether it is a duplicate."""
    columns = ["loop_class", "song_class", "split"]
    tables = [pq.read_table(folder.at(p), columns=columns, filesystem=folder.system) for p in parts]
    classes, songs = (np.concatenate([t[name].to_numpy() for t in tables]) for name in columns[:2])
    names = pa.concat_tables(tables)["split"].cast(pa.string())
    code = np.zeros(len(classes), np.int8)
    for i, name in enumerate(SPLITS):
        code[pc.equal(names, name).to_numpy()] = i
    code = fill_empty(code, songs)
    # Of the loops that are equal up to transposition, the most held-out split comes first, then the order of the parts.
    order = np.lexsort((code, classes))
    sorted_classes, sorted_codes = classes[order], code[order]
    fresh = np.append(True, sorted_classes[1:] != sorted_classes[:-1])[: len(order)]
    best = sorted_codes[fresh][np.cumsum(fresh) - 1]
    keep, duplicate = np.zeros(len(order), bool), np.zeros(len(order), bool)
    keep[order] = sorted_codes == best
    duplicate[order] = ~fresh
    return code, keep, duplicate


def fill_empty(code: NDArray[np.int8], songs: Classes) -> NDArray[np.int8]:
    """With few songs chance may leave a split empty; then the training song of the lowest class goes there.

    Args:
        code: of each loop its split, an index in `SPLITS`.
        songs: of each loop the class of its song.
    """
    code = code.copy()
    for split in (SPLITS.index("valid"), SPLITS.index("test")):
        training = np.unique(songs[code == SPLITS.index("train")])
        if not np.any(code == split) and len(training) > 1:
            code[songs == training[0]] = split
    return code


def _finished(
    folder: Folder,
    parts: Sequence[str],
    splits: NDArray[np.int8],
    keep: NDArray[np.bool_],
    duplicate: NDArray[np.bool_],
    report: Report,
) -> Iterator[pa.Table]:
    """The parts' tables with what was settled, counted in `report`."""
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
    """The same rows in tables of `SHARD` rows, the last with what remains."""
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
    first = next((f"; {song}: {why}" for _, song, why in report.skipped), "")
    return (
        f"no loops of {cutting.bars} bars were found in {report.files.total()} files{first}; "
        "name files with more music, or try --keep-last or --bars 1"
    )
