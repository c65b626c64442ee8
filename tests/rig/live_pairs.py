"""Whether `--live` changes when played notes go through: pairs of runs with and without it, the order alternating.

    python -m tests.rig.live_pairs --pairs 10                 some thirty minutes: leave the machine alone meanwhile
    python -m tests.rig.live_pairs --pairs 2 --messages 200   to see that it works

Needs JACK. In every run a stand-in for Live is beside, a Set whose tempo changes, and an answer is kept four times a
second: with `--live` each becomes a clip in the stand-in, without it only a file. So what differs is the thread that
speaks with Live alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rtgen.bench.figures import Take, calm, quantile
from rtgen.bench.measures import latencies
from rtgen.bench.music import BAR, made_loop
from rtgen.bench.server import RATE, TempoMap
from rtgen.bench.stage import Stage, open_stage
from rtgen.music.files import note_events
from rtgen.rig.ableton.script import PORT, REPLY_PORT
from rtgen.rig.told.osc import Client

OSC = 7741
CHANNEL = 5
STRIDE = 2401
"""Frames between messages: at every place within a period equally often."""
KEEP_S = 0.25
TEMPO = TempoMap((0, 120))
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def stand_in() -> None:
    """Is Live until standard input ends, then prints how many clips there are."""
    from tests.rig.fake_live import FakeLive

    with FakeLive(poll_s=0.1, scenes=2000, port=PORT, reply_port=REPLY_PORT) as live:
        print("ready", flush=True)
        ended = threading.Event()
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
        number = 0
        while not ended.wait(1.0):
            number += 1
            live.set("tempo", 120.0 + number % 2)
    print(sum(clip is not None for clip in live.tracks[1].slots), flush=True)


@contextmanager
def live_beside() -> Iterator[list[int]]:
    """Live, in a process of its own; yields a list that gets the number of clips when it ends."""
    command = [sys.executable, "-m", "tests.rig.live_pairs", "--stand-in"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"another program has port {PORT}; close Live, or what speaks with it")
        clips: list[int] = []
        yield clips
        process.stdin.close()
        clips.append(int(process.stdout.readline()))


def take(stage: Stage, messages: int, *, live: bool) -> tuple[Take, int, int]:
    """Return latencies of messages that go through, and how many answers were kept: as files, and as clips."""
    call = [(e.tick, e.data) for e in note_events(made_loop(3, 2).notes)]
    begins = 2 * BAR + BAR // 2

    def tick(number: int) -> float:
        return begins + STRIDE * number * 960 / RATE

    notes = [
        (tick(i), bytes(((0x80 if i % 2 else 0x90) | CHANNEL, 36 + i // 2 % 48, 64))) for i in range(messages // 2 * 2)
    ]
    with tempfile.TemporaryDirectory() as folder, live_beside() as clips:
        settings = {"thru": True, "use": "hold", "osc": OSC, "clips": folder}
        settings |= {"live": True, "live_track": "answers"} if live else {}
        with stage.playing("daemon", **settings) as program:  # type: ignore[arg-type]
            if live:
                program.wait_for_line("Live answers")
            over = threading.Event()
            presser = threading.Thread(target=_press, args=(over, TEMPO.frame(begins) / RATE), daemon=True)
            presser.start()
            capture = stage.perform(program, TEMPO, call + notes, round(tick(messages)) + 240)
            over.set()
            presser.join()
            files = len(list(Path(folder).glob("*.mid")))
            if live:
                _wait_for_clips(program.news, files)
        ours = replace(
            capture,
            played=[e for e in capture.played if e[1][0] & 0x0F == CHANNEL],
            output=[e for e in capture.output if e[1][0] & 0x0F == CHANNEL],
        )
    return latencies(ours), files, clips[0]


def _press(over: threading.Event, after_s: float) -> None:
    """Press keep again and again, once there is an answer."""
    with Client(OSC) as client:
        over.wait(after_s)
        while not over.wait(KEEP_S):
            client.send("/rtgen/keep")


def _wait_for_clips(news: Sequence[Mapping[str, Any]], count: int) -> None:
    """Wait until as many clips as files were reported."""
    ends = time.perf_counter() + 60
    while sum("in Live: track" in str(item.get("said")) for item in news) < count and time.perf_counter() < ends:
        time.sleep(0.1)


def figures(taken: Take) -> dict[str, float]:
    """Return p50, p99 and max in milliseconds, without what an xrun of the server spoilt."""
    kept = [late * 1000 / RATE for late, _ in calm(taken.events, taken.xruns)]
    return {name: round(quantile(kept, share), 3) for name, share in SHARES.items()}


def main() -> None:
    """Measure, and print a line for each run and the differences of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10, help="pairs of runs")
    parser.add_argument("--messages", type=int, default=1000, help="messages that go through, in each run")
    parser.add_argument("--period", type=int, default=64, help="frames of a period of the JACK server")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a run")
    parser.add_argument("--stand-in", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stand_in:
        stand_in()
        return
    pairs: list[dict[bool, dict[str, float]]] = []
    with open_stage("jack", given.period, True) as stage:
        for number in range(given.pairs):
            pair: dict[bool, dict[str, float]] = {}
            for live in (False, True) if number % 2 == 0 else (True, False):
                taken, files, clips = take(stage, given.messages, live=live)
                pair[live] = found = figures(taken)
                facts = {"pair": number + 1, "live": live, **found, "count": len(taken.events), "lost": taken.lost}
                facts |= {"xruns": len(taken.xruns), "files": files, "clips": clips}
                print(json.dumps(facts) if given.json else "  ".join(f"{k} {v}" for k, v in facts.items()), flush=True)
            pairs.append(pair)
    for name in SHARES:
        without, with_ = (statistics.median(pair[live][name] for pair in pairs) for live in (False, True))
        apart = [round(pair[True][name] - pair[False][name], 3) for pair in pairs]
        middle = statistics.median(apart)
        if given.json:
            print(json.dumps({"figure": name, "without": without, "with": with_, "differences": apart}))
        else:
            print(f"{name}: median {without:.3f} ms without, {with_:.3f} with; differences {middle:+.3f} (median),")
            print(
                f"    {min(apart):+.3f} to {max(apart):+.3f}, larger with --live in {sum(d > 0 for d in apart)} pairs"
            )


if __name__ == "__main__":
    main()
