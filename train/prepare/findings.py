"""What a preparation has to tell: what was read, and what was not and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from train.loops.dataset import about


@dataclass(slots=True)
class Report:
    """What was read, and what was not and why.

    Args:
        files: by set.
        songs: files that gave loops, by set.
        facts: by set, how often what was left out or taken as given.
        skipped: (set, song, why) of files that gave nothing.
        loops: in the dataset, by set and split.
        duplicates: those of `loops` that stand earlier in their split, in whatever key, by set.
        left_out: loops that occur in a more held-out split, by set.
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
        """Takes up what another chunk's report says."""
        self.files.update(other.files)
        self.songs.update(other.songs)
        self.skipped += other.skipped
        for name, facts in other.facts.items():
            self.facts.setdefault(name, Counter()).update(facts)

    def to_json(self) -> dict[str, Any]:
        """For the manifest: in a fixed order."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "skipped": sorted(self.skipped)}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Report:
        """What `to_json` made of the reading."""
        return cls(
            Counter(told["files"]),
            Counter(told["songs"]),
            {name: Counter(facts) for name, facts in told["facts"].items()},
            [(a, b, c) for a, b, c in told["skipped"]],
        )


Rows = list[tuple[object, ...]]


def tables(report: Report, left_out: Counter[str]) -> list[tuple[str, tuple[str, ...], Rows]]:
    """What to show of a report: title, heads and rows of each table, the last one about the loops.

    Args:
        report: from `prepare`.
        left_out: from `train.prepare.sources.find.find`.
    """
    found: list[tuple[str, tuple[str, ...], Rows]] = []
    if report.skipped:
        whys = Counter((name, why) for name, _, why in report.skipped)
        first = {(name, why): song for name, song, why in sorted(report.skipped, reverse=True)}
        rows: Rows = [(name, why, n, first[name, why]) for (name, why), n in sorted(whys.items())]
        found.append((f"{len(report.skipped)} files skipped", ("set", "why", "files", "the first"), rows))
    facts: Rows = [(name, what, n) for name, facts in sorted(report.facts.items()) for what, n in sorted(facts.items())]
    facts += [("", f"{what} not read", n) for what, n in sorted(left_out.items())]
    if facts:
        found.append(("what was taken as given or left out", ("set", "what", "times"), facts))
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
    heads = ("set", "licence", "files", "used", "train", "valid", "test", "twice", "held out")
    found.append(("", heads, counts))
    return found
