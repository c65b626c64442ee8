"""Results of measurements: table rows, targets, and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rtgen.bench.server import RATE

Unit = Literal["ms", "MB", "%"]
Event = tuple[float, tuple[float, ...]]
"""An error or a latency in frames, and the frames of the moments it was derived from."""
_BEFORE, _AFTER = 0.010 * RATE, 1.5 * RATE
"""Frames around an xrun report during which the server's clock is not reliable."""
_SUFFIXES: dict[Unit, str] = {"ms": "_ms", "MB": "_mb", "%": "_percent"}


def quantile(values: Iterable[float], share: float) -> float:
    """The value that `share` of the values do not exceed (nearest rank); NaN if there are none."""
    ordered = sorted(values)
    # A small tolerance against floating-point error: 0.95 of 20 must give the nineteenth.
    rank = -int(-(share * len(ordered) - 1e-9) // 1)
    return ordered[min(max(rank - 1, 0), len(ordered) - 1)] if ordered else float("nan")


def calm(events: Iterable[Event], xruns: Sequence[float]) -> list[Event]:
    """Drops events with a moment around an xrun, when the server's frame count stood still."""
    return [e for e in events if not any(-_BEFORE <= at - x <= _AFTER for at in e[1] for x in xruns)]


@dataclass
class Row:
    """One measured quantity.

    Args:
        section: section of the table.
        what: description.
        values: magnitudes, in `unit`.
        unit: of the values.
        baseline: whether it is a baseline for rtgen.
        calm: the values not affected by xruns; None if xruns do not apply.
        xruns: number of xruns meanwhile.
        remark: further remarks.
        more: further values for JSON, with units in the names.
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
        """The 99th percentile without values affected by xruns."""
        return quantile(self.values if self.calm is None else self.calm, 0.99)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: units are in the names, unknown values are None."""
        suffix = _SUFFIXES[self.unit]
        figures: dict[str, float | None] = {**self.figures, "p99_calm": self.p99_calm}
        numbers = {f"{k}{suffix}": None if v is None or v != v else round(v, 4) for k, v in figures.items()}
        counts = {"count": len(self.values), "count_calm": len(self.values if self.calm is None else self.calm)}
        words = {"section": self.section, "what": self.what, "baseline": self.baseline, "remark": self.remark}
        return {**words, **counts, **numbers, "xruns": self.xruns, **self.more}


@dataclass
class Take:
    """The result of one performance.

    Args:
        events: errors or latencies.
        xruns: frames of the xruns.
        lost: number of expected events that did not come.
    """

    events: list[Event]
    xruns: list[float]
    lost: int = 0


@dataclass(frozen=True)
class Target:
    """A target and its result.

    Args:
        what: the target, in words.
        found: the result, in words.
        met: whether the target was met; None if this run cannot tell.
    """

    what: str
    found: str
    met: bool | None


@dataclass
class Figures:
    """All results of a run of the bench.

    Args:
        stage: what carried the MIDI, in words.
        kind: the same for JSON.
        period_ms: of the server; None without a server.
        missing: why no better stage was available, in a sentence; None if it was.
        rows: in order.
        counts: `loops`, `late` and so on, for answers in time.
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
