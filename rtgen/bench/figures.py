"""What was measured, as numbers: rows of a table, the targets that they are held against, and JSON for machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rtgen.bench.server import RATE

Unit = Literal["ms", "MB", "%"]
Event = tuple[float, tuple[float, ...]]
"""An error or a latency in frames, and the frames of the moments that it comes from."""
_BEFORE, _AFTER = 0.010 * RATE, 1.5 * RATE
"""Around the report that the server was late: frames in which its clock does not say what time it is."""
_SUFFIXES: dict[Unit, str] = {"ms": "_ms", "MB": "_mb", "%": "_percent"}


def quantile(values: Iterable[float], share: float) -> float:
    """The value that `share` of the values do not exceed (the nearest rank); not a number where there are none."""
    ordered = sorted(values)
    # Less a hair: 0.95 of 20 is the nineteenth, whatever floating point makes of it.
    rank = -int(-(share * len(ordered) - 1e-9) // 1)
    return ordered[min(max(rank - 1, 0), len(ordered) - 1)] if ordered else float("nan")


def calm(events: Iterable[Event], xruns: Sequence[float]) -> list[Event]:
    """The events but for those with a moment soon after the server itself was late, as its frames stood still then."""
    return [e for e in events if not any(-_BEFORE <= at - x <= _AFTER for at in e[1] for x in xruns)]


@dataclass
class Row:
    """One thing that was measured.

    Args:
        section: what it belongs to.
        what: in words.
        values: magnitudes, in `unit`.
        unit: of them.
        baseline: whether it is what rtgen is compared with.
        calm: those of the values that the server's own lateness does not spoil; None where it could not.
        xruns: how often the server was late meanwhile.
        remark: what else is to be said.
        more: the same for machines, units in the names.
    """

    section: str
    what: str
    values: list[float]
    unit: Unit = "ms"
    baseline: bool = False
    calm: list[float] | None = None
    xruns: int = 0
    remark: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def timed(cls, section: str, what: str, takes: Sequence[Take], *, baseline: bool = False, remark: str = "") -> Row:
        """A row of one or several takes."""
        every = [abs(late) * 1000 / RATE for take in takes for late, _ in take.events]
        kept = [abs(late) * 1000 / RATE for take in takes for late, _ in calm(take.events, take.xruns)]
        return cls(section, what, every, "ms", baseline, kept, sum(len(take.xruns) for take in takes), remark)

    @property
    def figures(self) -> dict[str, float]:
        """p50, p95, p99 and max."""
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
        return {name: quantile(self.values, share) for name, share in shares.items()}

    @property
    def p99_calm(self) -> float:
        """The 99th percentile while the server was not late."""
        return quantile(self.values if self.calm is None else self.calm, 0.99)

    def as_dict(self) -> dict[str, Any]:
        """For machines: units are in the names, and what is not known is None."""
        suffix = _SUFFIXES[self.unit]
        figures: dict[str, float | None] = {**self.figures, "p99_calm": self.p99_calm}
        numbers = {f"{k}{suffix}": None if v is None or v != v else round(v, 4) for k, v in figures.items()}
        counts = {"count": len(self.values), "count_calm": len(self.values if self.calm is None else self.calm)}
        words = {"section": self.section, "what": self.what, "baseline": self.baseline, "remark": self.remark}
        return {**words, **counts, **numbers, "xruns": self.xruns, **self.more}


@dataclass
class Take:
    """What one performance says.

    Args:
        events: errors or latencies.
        xruns: frames at which the server was late.
        lost: how many were to come and did not.
    """

    events: list[Event]
    xruns: list[float]
    lost: int = 0


@dataclass(frozen=True)
class Target:
    """What was aimed at.

    Args:
        what: the aim, in words.
        found: what was found, in words.
        met: whether it was; None where this run cannot tell.
    """

    what: str
    found: str
    met: bool | None


@dataclass
class Figures:
    """All that a run of the bench measured.

    Args:
        stage: what carried the MIDI, in words.
        kind: the same for machines.
        period_ms: of the server; None where there is none.
        missing: what a better stage lacks here, in a sentence; None if nothing.
        rows: in order.
        counts: `loops`, `late` and the like, of the answers in time.
    """

    stage: str
    kind: str
    period_ms: float | None
    missing: str | None = None
    rows: list[Row] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def find(self, section: str, what: str) -> Row | None:
        """A row, if it was measured."""
        return next((r for r in self.rows if (r.section, r.what) == (section, what) and r.values), None)
