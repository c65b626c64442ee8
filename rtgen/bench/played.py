"""Answer times in play: an answer every few seconds, including the first ones, alone and under load.

    python -m rtgen.bench.played --starts 40 --answers 1 vary clean    presets; by default one for each mode
    python -m rtgen.bench.played --loops 200 vary                      a bar each, one after the other, at 60 to 240 BPM

A model that is called without pause answers from warm caches, at the processor's full clock rate. A musician calls it
once in four seconds; this measures that case, with the real daemon, as in `rtgen bench`. It also checks the last notes
of a call, which are in the answer only if the lead is short.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

from rich.progress import Progress

from rtgen.bench.figures import Figures, Row
from rtgen.bench.measures import Amount, News, answered, as_script, changing
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.programs import BESIDE
from rtgen.bench.server import RATE, TempoMap
from rtgen.bench.stage import Stage, open_stage
from rtgen.bench.streams import runs, sounded, within
from rtgen.bench.targets import LAST_NOTES, PLAYED
from rtgen.instrument.notices import DraftPlayed
from rtgen.music.files import note_events
from rtgen.music.note import Loop, Note
from rtgen.rig.kept.presets import load
from rtgen.shipped import find
from rtgen.terminal import Terminal

_TEMPO = 240
"""A call of two bars, as most presets have, and its answer take four seconds."""
_PAUSE_S = 1.0
"""Seconds between the model being ready and the first note, so that caches are cold again."""
_LAST_S = 0.030


def played(
    stage: Stage,
    presets: Sequence[str],
    beside: Sequence[str],
    starts: int,
    answers: int,
    step: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Times from job to answer, in sets that each begin with a fresh start of the daemon.

    Args:
        stage: carries the MIDI.
        presets: names; as shipped, except when they answer.
        beside: loads of `programs.BESIDE`.
        starts: daemon starts for each.
        answers: per start.
        step: called with a description of the next step.
    """
    rows = []
    for name in beside:
        for preset in presets:
            step(f"{preset}, {name}")
            with BESIDE[name]():
                sets = [_set(stage, preset, answers) for _ in range(starts)]
            rows.append(_row(f"{preset}, {name}", sets, starts * answers))
    return rows


def loops(
    stage: Stage,
    presets: Sequence[str],
    beside: Sequence[str],
    count: int,
    step: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Times from job to answer for one-bar loops, each answered during the next, at 60 to 240 BPM.

    Args:
        stage: carries the MIDI.
        presets: names; as shipped, except when they answer.
        beside: loads of `programs.BESIDE`.
        count: number of loops.
        step: called with a description of the next step.
    """
    tempos = TempoMap(*((i * BAR, bpm) for i, bpm in changing(count, Amount.tempos).items()))
    script = as_script([made_loop(seed, 1) for seed in range(count)])
    rows = []
    for name in beside:
        for preset in presets:
            what = f"{preset}, {count} loops, {name}"
            step(what)
            with BESIDE[name](), stage.playing("daemon", preset=_shipped(preset), use="follow", bars=1) as program:
                time.sleep(_PAUSE_S)
                stage.perform(program, tempos, script, (count + 1) * BAR)
                rows.append(_row(what, [program.news], count))
    return rows


def _shipped(preset: str) -> str:
    return str(find("presets", preset))


def _row(what: str, sets: Sequence[News], asked: int) -> Row:
    """Make a row of the daemon's reports, by set; `asked` is the number of calls in all sets."""
    told = [answered(news) for news in sets]
    took = [[1e3 * item["seconds"] for item in each] for each in told]
    in_time = sum(item["outcome"] == "answer" for each in told for item in each)
    drafts = sum(item["kind"] == DraftPlayed.__name__ for news in sets for item in news)
    leads = [1e3 * item["lead_s"] for each in told for item in each]
    every, first = [ms for each in took for ms in each], [each[0] for each in took if each]
    late = asked - in_time
    words = [f"{late} late of {asked}"]
    if drafts:
        words.append(f"a draft played for {drafts} of them")
    if first:
        words.append(f"first answers at most {max(first):.1f} ms")
    if leads:
        words.append(f"lead {min(leads):.0f} to {max(leads):.0f}")
    more = {"late": late, "asked": asked, "drafts": drafts, "first_ms": first, "lead_ms": leads}
    return Row(PLAYED, what, every, remark="; ".join(words), more=more)


def _set(stage: Stage, preset: str, answers: int) -> News:
    """Return what the daemon reports while calls are played to it."""
    bars = load(find("presets", preset)).bars
    tempos, turn = TempoMap((0, _TEMPO)), 2 * bars * BAR
    calls = [made_loop(i, bars) for i in range(answers)]
    script = [(e.tick, e.data) for i, call in enumerate(calls) for e in note_events(call.notes, start=i * turn)]
    with stage.playing("daemon", preset=_shipped(preset), use="answer", bars=bars) as program:
        time.sleep(_PAUSE_S)
        # Half a bar of the last answer is enough.
        stage.perform(program, tempos, script, answers * turn - bars * BAR + BAR // 2)
        return program.news


def last_notes(stage: Stage, count: int) -> list[Row]:
    """Share of notes played 30 ms before the boundary that come back at the end of the answer, as played."""
    tempos = TempoMap((0, _TEMPO))
    last = BAR - round(_LAST_S * _TEMPO / 60 * 480)
    call = Loop(BAR, (Note(0, 60, 400), Note(960, 64, 400), Note(last, 67, BAR - last)))
    script = [(e.tick, e.data) for i in range(count) for e in note_events(call.notes, start=2 * i * BAR)]
    with stage.playing("daemon", use="answer", bars=1) as program:
        time.sleep(_PAUSE_S)
        capture = stage.perform(program, tempos, script, 2 * count * BAR)
        leads = [1e3 * item["lead_s"] for item in answered(program.news)]
    (grid,) = runs(capture.clock)
    notes = sounded(capture.output)
    came = 0
    for i in range(count):
        start = (2 * i + 1) * BAR
        due = grid.frame(start + last)
        heard = within(notes, grid, start, start + BAR)
        came += any(n.pitch == 67 and abs(n.on - due) < _LAST_S * RATE for n in heard)
    row = Row(PLAYED, LAST_NOTES, [100 * came / count], "%")
    row.remark = f"{came} of {count}; lead {max(leads, default=0.0):.0f} ms at most"
    return [row]


def main() -> None:
    """Measures, and prints the table."""
    from rtgen.bench.run import show

    parser = argparse.ArgumentParser()
    parser.add_argument("presets", nargs="*", default=Amount.played, help="preset names")
    parser.add_argument("--starts", type=int, default=2, help="daemon starts per preset")
    parser.add_argument("--answers", type=int, default=5, help="answers per start")
    parser.add_argument("--loops", type=int, default=0, help="play this many one-bar loops in a row instead of sets")
    parser.add_argument("--beside", choices=list(BESIDE), action="append", help="background load; all by default")
    arguments = parser.parse_args()
    beside = arguments.beside or list(BESIDE)
    progress = Progress(console=Terminal(stderr=True), transient=True, refresh_per_second=2)
    with open_stage("auto", None, True) as stage, progress as bar:
        figures = Figures(stage.title, stage.kind, stage.period_ms, stage.missing)
        task = bar.add_task("", total=len(beside) * len(arguments.presets) + 1)
        step: Callable[[str], None] = lambda what: bar.update(task, description=what, advance=1)  # noqa: E731
        if arguments.loops:
            figures.rows += loops(stage, arguments.presets, beside, arguments.loops, step)
        else:
            figures.rows += played(stage, arguments.presets, beside, arguments.starts, arguments.answers, step)
            figures.rows += last_notes(stage, arguments.starts * arguments.answers)
    show(figures, Terminal(width=160, highlight=False))


if __name__ == "__main__":
    main()
