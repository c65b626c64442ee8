"""The worker process: reads jobs from standard input, runs the model, and writes answers to standard output.

It exits when its input ends, even in the middle of an answer, and its memory is limited. Of several waiting jobs it
answers only the newest, as the others would be too late. While no job waits, a composer is fed what is being played.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING

from rtgen.errors import UserError
from rtgen.instrument.job import Answer, Job, Part, Placed
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH
from rtgen.rig.realtime import answer_promptly, at_leisure
from rtgen.rig.worker import wire
from rtgen.rig.worker.wire import Failed, Ready, Said, Skipped

if TYPE_CHECKING:
    from rtgen.inference.model import Model

_NICE = 5
_PROMPT_S = 0.25
"""A model slower than this gets no real-time priority: it would keep a core from everything else for too long."""
MEMORY = {False: 2 * 2**30, True: 16 * 2**30}
"""Memory limit in bytes, without and with a GPU: CUDA maps much memory that it never uses."""
_TOO_SLOW_S = 5.0
"""Longest useful time to answer two bars; slower models are refused."""
_WARM_S = 0.5
"""Warm-up runs every mode four times or until this much time has passed, but a fast model at least twice."""
_PAUSE_S = 0.05
"""Pause before a warm-up answer; about the time between a draft and the answer that follows it, or a little more."""
_HALVES = 32
"""Half beats that warm up a model which plays along."""
_TOO_SLOW_ALONG_S = 1.0
"""Longest useful time to plan after a half beat."""
_UNTIMED_S = 0.001
"""Stands for the answer times of a model that was not warmed up."""
_LONGEST_REASON = 300
"""Characters of an exception that a message repeats."""
_GRACE_S = 2.0
"""Time left to finish an answer after the input has ended."""


def main(model_path: str, device: str, patience: str) -> int:
    """Answers jobs from standard input until it ends.

    Args:
        model_path: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        patience: `hurry` to load the model at full priority, as the player waits for it; `gently` to load it at a low
            one; `offline` if nothing is played, so that the model need not be warm.

    Returns:
        The exit status: 2 if the model cannot be run.
    """
    # Ctrl-C in the terminal signals every process of the group; this one ends with its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs: SimpleQueue[str | None] = SimpleQueue()
    urgent = threading.Event()
    threading.Thread(target=_listen, args=(sys.stdin, jobs, urgent), daemon=True).start()
    # Redirect what libraries print, so that it does not mix with the messages.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(said: Said) -> None:
        messages.write(wire.from_said(said))
        messages.flush()

    with suppress(OSError):  # the parent process is gone
        try:
            with ThreadPoolExecutor(1, initializer=_make_way if patience == "gently" else None) as loader:
                model = loader.submit(_load, Path(model_path), device, say).result()
            times = _warm(model) if patience != "offline" else _untimed(model)
        except UserError as error:
            say(Failed(str(error), final=True))
            return 2
        except Exception as error:
            say(Failed(_trouble(Path(model_path).stem, error), final=True))
            return 2
        from rtgen.inference.places import dimensions

        card = model.card
        pitched, hears = card.kind.pitched, card.kind.hears
        what = model.remark, card.role, dimensions(card)
        say(Ready(card.name, model.device, times, *what, pitched=pitched, hears=hears))
        if card.kind.unit == "half beat":
            _play_along(model, jobs, say)
            return 0
        while (line := _newest(jobs, say)) is not None:
            if wire.is_to_hear(line):
                with at_leisure():
                    _hear(model, line, jobs)
                continue
            if wire.is_half(line):
                say(Skipped())  # it stands in for a model that plays along
                continue
            urgent.clear()
            said, whole = _answered(model, line, say, urgent, whole=patience == "offline")
            say(said)
            if whole is not None and jobs.empty() and patience != "offline":
                with at_leisure():
                    _place(model, line, whole, say)
    return 0


def _listen(stream: IO[str], jobs: SimpleQueue[str | None], urgent: threading.Event) -> None:
    """Queues the lines of the input, and exits the process when it ends, even if the model never returns.

    Args:
        stream: the input.
        jobs: takes the lines.
        urgent: set when one of them is a job.
    """
    answer_promptly()
    with suppress(OSError, ValueError):
        for line in stream:
            if not wire.is_to_hear(line):
                urgent.set()  # before whoever takes it clears it
            jobs.put(line)
    jobs.put(None)
    time.sleep(_GRACE_S)
    os._exit(0)


def _newest(jobs: SimpleQueue[str | None], say: wire.Say) -> str | None:
    """Waits for input and returns the newest job, or else the newest line to hear; None at the end of input."""
    line = jobs.get()
    while not jobs.empty():
        after = jobs.get()
        if after is None:
            jobs.put(None)  # answer the last job first
            return line
        if line is None or wire.is_to_hear(line):
            line = after
        elif not wire.is_to_hear(after):
            say(Skipped())
            line = after
    return line


def _play_along(model: Model, jobs: SimpleQueue[str | None], say: wire.Say) -> None:
    """Plans what is played along, half beat by half beat, none of which is left out; until the end of input."""
    from rtgen.inference.along import Along

    along = Along(model)
    name = model.card.name
    while (line := jobs.get()) is not None:
        if wire.is_to_hear(line):
            continue
        if not wire.is_half(line):
            say(Failed(f"Model {name} plays along, and answers no loops; choose another model"))
            continue
        try:
            say(along.hear(wire.to_half(line)))
        except Exception as error:
            along = Along(model)
            say(Failed(f"Model {name} could not play along ({_reason(error)}); play on or change the model"))


def _hear(model: Model, line: str, jobs: SimpleQueue[str | None]) -> None:
    """Feeds a composer what is being played until another line arrives; the job itself makes up for the rest."""
    if not model.card.kind.hears:
        return
    from rtgen.inference.hearing import hear

    with suppress(Exception):
        heard = wire.to_heard(line)
        hear(model, heard.past, heard.loop, heard.knobs, stop=lambda: not jobs.empty())


def _place(model: Model, line: str, answered: Loop, say: wire.Say) -> None:
    """Sends the positions of a call and its answer on the map of dimensions; for display only, so only when idle."""
    from rtgen.inference.places import place

    with suppress(Exception):
        job = wire.to_job(line)
        loop, answer, *ends = place(model, (job.loop, answered, *(job.ends or ())), job.knobs)
        say(Placed(loop, answer, tuple(ends)))


def _load(path: Path, device: str, say: wire.Say) -> Model:
    from rtgen.inference.model import DEVICES, Model, devices_here

    gpu = device != "cpu" and len(devices_here()) > 1
    cap_memory(MEMORY[gpu], path.stem, say)
    return Model(path, next(d for d in DEVICES if d == device))


def _untimed(model: Model) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(map(str, model.card.kind.modes), (_UNTIMED_S, _UNTIMED_S))


def _warm(model: Model) -> dict[str, tuple[float, float]]:
    """Warms the model up with an example in every mode that it plays.

    The calling thread gets the priority that it will answer with.

    Returns:
        For each mode the longest time until an answer begins to come, shortly after another answer, as when it follows
        a draft; and the time of the whole first answer (cold: little of the model is in the CPU caches yet). Both in
        seconds.

    Raises:
        UserError: the model is too slow to play with.
    """
    from rtgen.inference.card import modes_of
    from rtgen.inference.hearing import hear
    from rtgen.inference.modes import answer
    from rtgen.instrument.parameters import PARAMETERS

    if model.card.kind.unit == "half beat":
        return _warm_along(model)
    knobs = {p.name: p.default for p in PARAMETERS.values()}
    modes = modes_of(model.card)
    examples = {mode: example(every=120 if mode == "continue" else 240) for mode in modes}
    other = example(up=5)
    times: dict[str, list[float]] = {mode: [] for mode in modes}
    count, slowest = 0, 0.0
    parts: list[float] = []

    def tell(*_: object) -> None:
        parts.append(time.perf_counter())

    began = time.perf_counter()
    # A slow model runs only once in every mode, so that it is ready before the start-up timeout.
    while count < len(modes) or (
        count < 4 * len(modes)
        and (time.perf_counter() - began < _WARM_S or (count < 2 * len(modes) and slowest < _PROMPT_S))
    ):
        for mode, loop in examples.items():
            if model.card.kind.hears:
                # As in play: when an answer is due, all but the last beat has been heard.
                hear(model, [loop] * 8, loop.with_notes(n for n in loop.notes if n.end <= loop.length - PPQN))
            if count == len(modes) and slowest < _PROMPT_S:
                answer_promptly()  # fast enough for real-time priority
            if count >= len(modes):
                time.sleep(_PAUSE_S)
            started = time.perf_counter()
            parts.clear()
            answer(model, loop, mode, knobs, count, past=[loop] * 8, ends=(loop, other), tell=tell)
            took = time.perf_counter() - started
            if took > _TOO_SLOW_S:
                raise UserError(
                    f"Model {model.card.name} takes {took:.1f} s for an answer, too slow to play with; "
                    "choose a smaller model, or another --device"
                )
            times[mode].append(parts[0] - started if parts and times[mode] else took)
            count, slowest = count + 1, max(slowest, took)
    return {str(mode): (max(taken[1:] or taken), taken[0]) for mode, taken in times.items()}


def _warm_along(model: Model) -> dict[str, tuple[float, float]]:
    """Warms up a model that plays along; as `_warm`, for what it takes to plan after a half beat."""
    from rtgen.inference.along import Along
    from rtgen.instrument.job import HalfBeat

    along = Along(model)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - began < _WARM_S and len(times) < _HALVES):
        if len(times) == 1 and times[0] < _PROMPT_S:
            answer_promptly()
        started = time.perf_counter()
        along.hear(HalfBeat(len(times), 0, (Note(0, 60 + len(times) % 12, 240),)))
        times.append(time.perf_counter() - started)
    # A machine that stands still for a moment says nothing about the model.
    if min(times) > _TOO_SLOW_ALONG_S:
        raise UserError(
            f"Model {model.card.name} takes {min(times):.1f} s for a half beat, too slow to play along; "
            "choose a smaller model, or another --device"
        )
    return dict.fromkeys(map(str, model.card.kind.modes), (max(times[1:]), times[0]))


def example(up: int = 0, every: int = 240) -> Loop:
    """Returns two bars of chords and melody, as dense as a busy player's, to warm up the model.

    Args:
        up: transposition in semitones.
        every: duration of a melody note in ticks; use sixteenths (120) for models that generate note by note, whose
            time grows with the number of notes.
    """
    notes = [Note(t, 60 + up + t // every % 12, every) for t in range(0, 3840, every)]
    notes += [Note(i * 960, pitch + up, 960) for i in range(4) for pitch in (36, 48, 52, 55)]
    return Loop(3840, tuple(notes))


def _answered(
    model: Model, line: str, say: wire.Say, urgent: threading.Event, *, whole: bool
) -> tuple[Said, Loop | None]:
    """Answers a job; returns `Failed` instead of raising, so that one bad loop does not end the process.

    Args:
        model: the model.
        line: the job.
        say: sends parts of the answer, but for the last.
        urgent: set when another job waits, for which a draft is given up: it has warmed the model up by then.
        whole: whether the answer comes in one.

    Returns:
        The last thing to say, and the whole answer unless it is a draft.
    """
    from rtgen.inference.model import is_out_of_memory
    from rtgen.inference.modes import answer_job

    draft = False
    try:
        job = wire.to_job(line)
        draft = job.draft
        parts = Parts(job, say)

        def tell(notes: list[Note], until: int) -> None:
            if draft and urgent.is_set():
                raise _GivenUpError
            if not (whole or draft):
                parts.tell(notes, until)

        loop = answer_job(model, job, tell)
        return parts.last(loop), None if draft else loop
    except _GivenUpError:
        return Skipped(), None
    except UserError as error:
        failed = Failed(str(error))
    except Exception as error:
        reason = _reason(error)
        failed = Failed(f"Model {model.card.name} could not answer this loop ({reason}); play on or change the model")
        if is_out_of_memory(error):
            failed = Failed(f"Model {model.card.name} ran out of memory on this loop; play a shorter or sparser one")
    # A failed draft is not reported: the answer to the whole loop follows, and fails with its own message.
    return Skipped() if draft else failed, None


class _GivenUpError(Exception):
    """A draft gave way to a job."""


class Parts:
    """An answer as it is sent, part by part.

    Args:
        job: what is answered.
        say: sends a part.
    """

    def __init__(self, job: Job, say: wire.Say) -> None:
        self._job, self._say = job, say
        self._following: Part = "first"
        self._sent: set[tuple[int, int]] = set()
        self._waiting: list[Note] = []

    def tell(self, notes: list[Note], until: int) -> None:
        """Sends notes; not before the first part goes a sixteenth beyond where the answer begins to play."""
        self._waiting += notes
        if self._following == "next" or until >= self._job.since + TICKS_PER_SIXTEENTH:
            # With the gate closed it is heard how long a note is that is cut by the next one.
            part = self._job.loop.with_notes(self._waiting).monophonic_by_pitch()
            self._say(self._part(part, self._following))
            self._sent |= {(n.onset, n.pitch) for n in self._waiting}
            self._waiting, self._following = [], "next"

    def last(self, loop: Loop) -> Answer:
        """Returns what completes an answer: all of it if no part was sent."""
        rest = loop.with_notes(n for n in loop.notes if (n.onset, n.pitch) not in self._sent)
        return self._part(rest, "whole" if self._following == "first" else "last")

    def _part(self, loop: Loop, part: Part) -> Answer:
        return Answer(loop, self._job.target, self._job.epoch, self._job.draft, part)


def _trouble(name: str, error: Exception) -> str:
    """Returns the sentence for a model that could not be loaded or warmed up."""
    from rtgen.inference.model import is_out_of_memory

    if is_out_of_memory(error):
        return f"Model {name} ran out of memory before it could play; choose a smaller model"
    return f"Model {name} could not be tried out ({_reason(error)}); export it again, or choose another"


def _reason(error: Exception) -> str:
    lines = f"{type(error).__name__}: {error}".splitlines()
    return lines[0][:_LONGEST_REASON]


def _make_way() -> None:
    """Lowers the priority of the calling thread, on Linux, where a thread can have its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def cap_memory(limit: int, name: str, say: wire.Say) -> None:
    """Limits the memory of this process to `limit` bytes.

    On Linux an allocation beyond it fails, and with it only that answer. On macOS, which has no such limit, a thread
    polls the memory use and exits the process. On Windows there is no limit.
    """
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        # Not RLIMIT_AS: CUDA and other libraries map far more address space than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    elif sys.platform != "win32":
        threading.Thread(target=_watch_memory, args=(limit, name, say), daemon=True).start()


def _watch_memory(limit: int, name: str, say: wire.Say) -> None:
    if sys.platform == "win32":
        return
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < limit:
        time.sleep(0.1)
    with suppress(OSError):
        say(Failed(f"Model {name} needs more than {limit >> 20} MB of memory; choose a smaller model"))
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
