"""Report of a preparation: what was read, and what was skipped or left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from train.loops.dataset import about


@dataclass(slots=True)
class Report:
    """What was read, and what was skipped or left out and why.

    Args:
        files: number of files by set.
        songs: number of files that gave loops, by set.
        facts: by set, what was left out or assumed, with counts.
        skipped: (set, song, reason) of files that gave nothing.
        loops: number of loops in the dataset, by set and split.
        duplicates: how many of `loops` repeat an earlier one of their split in any key, by set.
        left_out: number of loops dropped because they occur in a more held-out split, by set.
    """

    files: Counter[str] = field(default_factory=Counter)
    songs: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Counter[str]] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)
    loops: dict[str, Counter[str]] = field(default_factory=dict)
    duplicates: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def tell(self, name: str, fact: str, times: int = 1) -> None:
        """Counts a fact about a set."""
        self.facts.setdefault(name, Counter())[fact] += times

    def add(self, other: Report) -> None:
        """Adds the report of another chunk."""
        self.files.update(other.files)
        self.songs.update(other.songs)
        self.skipped += other.skipped
        for name, facts in other.facts.items():
            self.facts.setdefault(name, Counter()).update(facts)

    def to_json(self) -> dict[str, Any]:
        """Converts to JSON for the manifest, in a fixed order."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "skipped": sorted(self.skipped)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Report:
        """Restores the fields about reading (not about loops) from `to_json`."""
        return cls(
            Counter(told["files"]),
            Counter(told["songs"]),
            {name: Counter(facts) for name, facts in told["facts"].items()},
            [(a, b, c) for a, b, c in told["skipped"]],
        )


Rows = list[tuple[object, ...]]


def tables(report: Report, left_out: Counter[str]) -> list[tuple[str, tuple[str, ...], Rows]]:
    """Tables to show of a report: title, headings and rows of each; the last one is about the loops.

    Args:
        report: from `prepare`.
        left_out: from `train.prepare.sources.find.find`.
    """
    found: list[tuple[str, tuple[str, ...], Rows]] = []
    if report.skipped:
        whys = Counter((name, why) for name, _, why in report.skipped)
        first = {(name, why): song for name, song, why in sorted(report.skipped, reverse=True)}
        rows: Rows = [(name, why, n, first[name, why]) for (name, why), n in sorted(whys.items())]
        found.append((f"{len(report.skipped)} files skipped", ("set", "reason", "files", "first file"), rows))
    facts: Rows = [(name, what, n) for name, facts in sorted(report.facts.items()) for what, n in sorted(facts.items())]
    facts += [("", f"{what} not read", n) for what, n in sorted(left_out.items())]
    if facts:
        found.append(("assumed or left out", ("set", "what", "count"), facts))
    names = sorted(report.files)
    counts: Rows = [
        (
            name,
            about(name).licence,
            report.files[name],
            report.songs[name],
            *(report.loops.get(name, Counter())[split] for split in ("train", "valid", "test")),
            report.duplicates[name],
            report.left_out[name],
        )
        for name in names
    ]
    heads = ("set", "licence", "files", "used", "train", "valid", "test", "duplicates", "dropped")
    found.append(("", heads, counts))
    return found
