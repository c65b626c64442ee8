"""The process that answers: it receives jobs on its standard input, and says answers on its standard output.

It ends when its input does, whatever it is at; it takes no more memory than it is allowed; and of several jobs that
wait it answers the newest, as the others come too late anyway. While no job waits it hears what is played, if the model
is one that does.
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
from rtgen.instrument.job import Answer, Placed
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN
from rtgen.rig.realtime import answer_promptly, at_leisure
from rtgen.rig.worker import wire
from rtgen.rig.worker.wire import Failed, Ready, Said, Skipped

if TYPE_CHECKING:
    from rtgen.inference.model import Model

_NICE = 5
_PROMPT_S = 0.25
"""A model that takes longer than this for an answer would keep a core from all else for too long."""
_MEMORY = {False: 2 * 2**30, True: 16 * 2**30}
"""Bytes that the process may take, without and with a graphics card: CUDA maps much that it never uses."""
_TOO_SLOW_S = 5.0
"""Whatever takes longer to answer two bars is of no use to a player."""
_WARM_S = 0.5
"""Warming goes through every mode of the model four times, or until it took this long; a fast one, twice at least."""
_PAUSE_S = 0.05
"""What lies between a draft and the answer that follows on it, or some more."""
_GRACE_S = 2.0
"""How long an answer may still take when the input has ended."""


def main(model_path: str, device: str, patience: str) -> int:
    """Answers jobs from standard input until it ends.

    Args:
        model_path: the `.onnx` file.
        device: as in `rtgen.inference.model.Device`.
        patience: `hurry` loads the model at once, for the player waits for it; `gently` lets all else go first.
    """
    # The terminal's Ctrl-C reaches every process; ours ends when its input does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs: SimpleQueue[str | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, jobs), daemon=True).start()
    # Whatever a library prints must not end up among the messages.
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(said: Said) -> None:
        messages.write(wire.from_said(said))
        messages.flush()

    with suppress(OSError):  # nobody listens any more
        from rtgen.inference.card import modes_of

        try:
            with ThreadPoolExecutor(1, initializer=_make_way if patience == "gently" else None) as loader:
                model = loader.submit(_load, Path(model_path), device, say).result()
            seconds, cold_s = _warm(model)
        except UserError as error:
            say(Failed(str(error), final=True))
            return 2
        from rtgen.inference.places import dimensions

        card = model.card
        told = modes_of(card), dimensions(card), cold_s
        say(Ready(card.name, model.device, seconds, model.remark, card.role, *told))
        while (line := _newest(jobs, say)) is not None:
            if wire.is_to_hear(line):
                with at_leisure():
                    _hear(model, line, jobs)
                continue
            say(answered := _answered(model, line))
            if isinstance(answered, Answer) and not answered.draft and jobs.empty():
                with at_leisure():
                    _place(model, line, answered, say)
    return 0


def _listen(stream: IO[str], jobs: SimpleQueue[str | None]) -> None:
    """Passes on the lines of the input; when it ends the process does, even if the model never returns."""
    answer_promptly()
    with suppress(OSError, ValueError):
        for line in stream:
            jobs.put(line)
    jobs.put(None)
    time.sleep(_GRACE_S)
    os._exit(0)


def _newest(jobs: SimpleQueue[str | None], say: wire.Say) -> str | None:
    """The newest job that waits, once there is one, or if there is none what there is to hear; None at the end."""
    line = jobs.get()
    while not jobs.empty():
        after = jobs.get()
        if after is None:
            jobs.put(None)  # the last job is still answered
            return line
        if line is None or wire.is_to_hear(line):
            line = after
        elif not wire.is_to_hear(after):
            say(Skipped())
            line = after
    return line


def _hear(model: Model, line: str, jobs: SimpleQueue[str | None]) -> None:
    """Lets the model hear what is played until something else is wanted; what is missed is heard with the job."""
    if not model.card.kind.listens:
        return
    from rtgen.inference.hearing import hear

    with suppress(Exception):
        heard = wire.to_heard(line)
        hear(model, heard.past, heard.loop, heard.knobs, stop=lambda: not jobs.empty())


def _place(model: Model, line: str, answered: Answer, say: wire.Say) -> None:
    """Says where an answer lies, and what it answers: for whoever looks on, so only when nothing else is to be done."""
    from rtgen.inference.places import place

    with suppress(Exception):
        job = wire.to_job(line)
        loop, answer, *ends = place(model, (job.loop, answered.loop, *(job.ends or ())), job.knobs)
        say(Placed(loop, answer, tuple(ends)))


def _load(path: Path, device: str, say: wire.Say) -> Model:
    from rtgen.inference.model import DEVICES, Model, devices_here

    gpu = device != "cpu" and len(devices_here()) > 1
    _cap_memory(_MEMORY[gpu], path.stem, say)
    return Model(path, next(d for d in DEVICES if d == device))


def _warm(model: Model) -> tuple[float, float]:
    """Answers an example in every mode that the model plays until it goes at its usual speed.

    The calling thread gets the priority that it will answer with.

    Returns:
        The longest answer as it is when it follows on a draft, and the longest of the first ones, in seconds. These
        are the slowest that there are: nothing of the model is in the processor's caches yet.

    Raises:
        UserError: the model is too slow to play with.
    """
    from rtgen.inference.hearing import hear
    from rtgen.inference.modes import answer, modes_of
    from rtgen.instrument.parameters import PARAMETERS

    knobs = {p.name: p.default for p in PARAMETERS.values()}
    modes = modes_of(model.card)
    examples = {mode: example(every=120 if mode == "continue" else 240) for mode in modes}
    other = example(up=5)
    times: list[float] = []
    began = time.perf_counter()
    # A slow model is heard once in every mode: it must be ready before it is taken for hanging.
    while len(times) < len(modes) or (
        len(times) < 4 * len(modes)
        and (time.perf_counter() - began < _WARM_S or (len(times) < 2 * len(modes) and max(times) < _PROMPT_S))
    ):
        for mode, loop in examples.items():
            if model.card.kind.listens:
                # As it is when an answer is due: all but the last beat has been heard.
                hear(model, [loop] * 8, loop.with_notes(n for n in loop.notes if n.end <= loop.length - PPQN))
            if len(times) == len(modes) and max(times) < _PROMPT_S:
                answer_promptly()  # from now on
            if len(times) >= len(modes):
                time.sleep(_PAUSE_S)
            start = time.perf_counter()
            answer(model, loop, mode, knobs, len(times), past=[loop] * 8, ends=(loop, other))
            times.append(time.perf_counter() - start)
            if times[-1] > _TOO_SLOW_S:
                raise UserError(
                    f"Model {model.card.name} takes {times[-1]:.1f} s for an answer, which no music waits for; "
                    "choose a smaller one, or another device"
                )
    return max(times[len(modes) :] or times), max(times[: len(modes)])


def example(up: int = 0, every: int = 240) -> Loop:
    """Two bars of chords and melody, as many notes as a busy player's, to warm the model with.

    What is said note by note takes the longer the more notes there are: for that the melody is in sixteenths.
    """
    notes = [Note(t, 60 + up + t // every % 12, every) for t in range(0, 3840, every)]
    notes += [Note(i * 960, pitch + up, 960) for i in range(4) for pitch in (36, 48, 52, 55)]
    return Loop(3840, tuple(notes))


def _answered(model: Model, line: str) -> Said:
    """The answer to a job, or why there is none: one loop that cannot be answered must not cost the next ones."""
    from rtgen.inference.modes import answer_job

    draft = False
    try:
        job = wire.to_job(line)
        draft = job.draft
        return Answer(answer_job(model, job), job.target, job.epoch, draft)
    except UserError as error:
        failed = Failed(str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        failed = Failed(f"Model {model.card.name} could not answer this loop ({reason})")
        if isinstance(error, MemoryError) or "alloc" in str(error):
            failed = Failed(f"Model {model.card.name} ran out of memory on this loop; play a shorter one or change it")
    # The loop itself follows on its draft, and is what is complained of.
    return Skipped() if draft else failed


def _make_way() -> None:
    """Lets all else go before the calling thread, where a thread can have a priority of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _cap_memory(limit: int, name: str, say: wire.Say) -> None:
    """Sees to it that a model that wants more memory than `limit` (bytes) fails, and nothing else does.

    On Linux it gets no more, which fails the one answer. Where the system cannot refuse, a thread ends the process.
    """
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        # Not the address space: CUDA and others map far more of that than they use.
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    elif sys.platform != "win32":
        threading.Thread(target=_watch_memory, args=(limit, name, say), daemon=True).start()


def _watch_memory(limit: int, name: str, say: wire.Say) -> None:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    while resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit < limit:
        time.sleep(0.1)
    with suppress(OSError):
        say(Failed(f"Model {name} takes more than {limit >> 20} MB of memory"))
    os._exit(3)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
