"""What the model is asked: jobs with their numbers and seeds, and what was played before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rtgen.instrument.job import Heard, Job
from rtgen.instrument.memory import Memory
from rtgen.instrument.preset import Preset
from rtgen.music.note import Loop


class Asking:
    """Makes the jobs of a session.

    Args:
        seed: of the session; job n gets one that is derived from it and n.
        hears: whether the model hears the input note by note, in every mode.
    """

    def __init__(self, seed: int, *, hears: bool) -> None:
        self._seed = seed
        self._number = 0
        self._heard: Heard | None = None
        self.hears = hears
        """Whether the model hears the input note by note, in every mode."""
        self.epoch = 0
        """Counts the breaks in the song's time; an answer from another epoch is void."""
        self.memory = Memory()
        """What was played before."""
        self.given: Loop | None = None
        """A loop that is answered next in place of what is played."""

    def forget(self) -> None:
        """Forget what was played and given."""
        self.memory, self.given = Memory(), None

    # ---- what is asked about ----------------------------------------------------------------------------------------

    def offered(self, preset: Preset) -> Loop | None:
        """Return the given loop; None if there is none of the preset's length."""
        given = self.given
        fits = given is not None and (given.length, given.bar) == (preset.length, preset.metre.bar)
        return given if fits else None

    def asks(self, preset: Preset, *, heard: bool) -> bool:
        """Return whether there is anything to answer.

        A given loop is, and what was heard; silence only by a blend, which lies between two stored loops.
        """
        if preset.along:
            return False
        return heard or self.offered(preset) is not None or (preset.mode == "blend" and self.memory.both)

    def tells(self, preset: Preset) -> bool:
        """Whether the model is shown the input before it has to answer."""
        return self.hears or preset.mode == "continue"

    @property
    def seed(self) -> int:
        """The seed of what is played along."""
        return self._seed_of(self._number)

    def plan_anew(self, *, seed: bool) -> None:
        """Have what is played along planned with the knobs by now; `seed`: with another seed as well."""
        self._number += seed

    # ---- what it is asked -------------------------------------------------------------------------------------------

    def job(self, call: Loop, target: int, preset: Preset, knobs: Mapping[str, float], before: Job | None) -> Job:
        """Return a new job.

        Args:
            call: what was played.
            target: tick at which the answer begins.
            preset: what is wanted.
            knobs: likewise.
            before: the job of the present answer, which may be one to this very call.
        """
        self._number += 1
        return self._job(call, target, preset, knobs, before, self._number)

    def draft(self, call: Loop, target: int, preset: Preset, knobs: Mapping[str, float], before: Job | None) -> Job:
        """Return a draft of the next job, with the same seed."""
        return replace(self._job(call, target, preset, knobs, before, self._number + 1), draft=True)

    def anew(self, job: Job, target: int, since: int, knobs: Mapping[str, float], model: str, *, seed: bool) -> Job:
        """Return a job again with other knobs; `seed` asks for a different answer.

        Args:
            job: the job.
            target: tick from which its answer is heard.
            since: how many ticks of the answer lie before it.
            knobs: the values by now.
            model: likewise.
            seed: whether chance begins anew.
        """
        self._number += seed
        return replace(
            job,
            target=target,
            epoch=self.epoch,
            knobs=dict(knobs),
            seed=self._seed_of(self._number) if seed else job.seed,
            ends=self.memory.ends(job.loop) if job.mode == "blend" else None,
            model=model,
            since=since,
        )

    def told(self, complete: Loop, knobs: Mapping[str, float]) -> Heard | None:
        """Return what the model is shown of what was played; None if that is nothing new."""
        heard = Heard(self.memory.past, complete, dict(knobs))
        if heard == self._heard:
            return None
        self._heard = heard
        return heard

    def _job(
        self, call: Loop, target: int, preset: Preset, knobs: Mapping[str, float], before: Job | None, number: int
    ) -> Job:
        ends = self.memory.ends(call) if preset.mode == "blend" else None
        past = self.memory.past if self.tells(preset) else ()
        if before is not None and before.loop is call and before.mode == preset.mode:
            past = before.past
        seed = self._seed_of(number)
        return Job(call, preset.mode, seed, target, self.epoch, dict(knobs), past, ends, model=preset.model)

    def _seed_of(self, number: int) -> int:
        return (self._seed << 24) + number
