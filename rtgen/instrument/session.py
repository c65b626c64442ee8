"""The instrument as one state machine: events with their times go in; messages, jobs and a wake-up time come out.

A session owns all musical state and touches no clock, port, thread or file. The daemon, the offline renderer, the demo
and the tests drive the same object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from rtgen.instrument.answers import Answers, Asked
from rtgen.instrument.binding import DEFAULTS
from rtgen.instrument.clocks.internal_clock import ClockOut, InternalClock
from rtgen.instrument.clocks.link_clock import LinkClock
from rtgen.instrument.clocks.midi_clock import MidiClock
from rtgen.instrument.clocks.sources import ClockSources
from rtgen.instrument.clocks.transport import Change, State, Transport
from rtgen.instrument.controls import Controls
from rtgen.instrument.desk import At, Desk, Taps
from rtgen.instrument.ear import Ear
from rtgen.instrument.events import (
    Chosen,
    Event,
    Learn,
    Left,
    Linked,
    Output,
    Paced,
    Plugged,
    Pressed,
    Received,
    Turned,
    Used,
    Warmed,
)
from rtgen.instrument.job import Answer, Heard, Job
from rtgen.instrument.lead import Lead, Pace
from rtgen.instrument.looper import Looper
from rtgen.instrument.memory import Memory
from rtgen.instrument.notices import (
    Answered,
    Called,
    DoubledClock,
    DraftPlayed,
    DrumsLeftOut,
    ForeignClock,
    Halted,
    KeepAnswer,
    NoClock,
    NoStart,
    Overslept,
    PeersChanged,
    PortChanged,
    PresetChanged,
    Rolling,
    SelectPreset,
    Stored,
    TakenOver,
)
from rtgen.instrument.options import Options
from rtgen.instrument.parameters import PARAMETERS
from rtgen.instrument.pending import Pending
from rtgen.instrument.player import Ledger, Player
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.thru import Hands, Thru
from rtgen.instrument.turns import Turn, is_call, next_change, rounded_up
from rtgen.music import midi
from rtgen.music.note import Loop, Note
from rtgen.music.swing import swung
from rtgen.music.time import PPQN, seconds_per_tick

PRE_ROLL = 60
"""Notes this many ticks before a call still belong to it: an early downbeat (a 32nd note)."""
_EARLY_S = 0.05
"""Before the first loop after a Start or a jump, notes this many seconds early belong to it as well."""
_HELD_S = 4.0
"""For so long after a Stop it may go on: no transport takes longer than a beat at the slowest tempo."""
_SLACK_S = 0.010
"""An answer this late still starts on its boundary: its first notes are late by less than anyone hears."""
_ASLEEP_S = 1.0
"""If a step comes this much later than requested, the machine slept or the process was stopped."""
_CLOCK = bytes([midi.CLOCK])
_WHY: Mapping[Change, Literal["stopped", "lost", "located"]] = {
    Change.STOPPED: "stopped",
    Change.LOST: "lost",
    Change.LOCATED: "located",
}
_CLOCKS = {"midi": MidiClock, "internal": InternalClock, "link": LinkClock}


class Session:
    """The instrument.

    Args:
        preset: the musical settings.
        options: the other settings.
    """

    def __init__(self, preset: Preset, options: Options | None = None) -> None:
        options = options or Options()
        self.clock = options.clock
        """Whose tempo is played."""
        self.transport: Transport = _CLOCKS[options.clock](preset.tempo)
        self.transport.offset_s = options.clock_offset_s
        self.transport.loop = preset.length
        self.preset = preset
        self.use: Use = preset.use
        self._pace = Pace()
        self._drafted: int | None = None
        self._looper = Looper()
        self._memory = Memory()
        self._ledger = Ledger()
        self._player = Player(self._ledger, preset.channel - 1)
        self._parsers: dict[int, midi.Parser] = {}
        self._thru = Thru(self._ledger) if options.thru else None
        self._seed = options.seed
        self._jobs = 0
        self._offset, self._ahead_s = options.output_offset_s, options.ahead_s
        self._sources = ClockSources()
        self._clock_out = ClockOut() if options.send_clock else None
        self._chosen: Preset | None = None
        self._wake: float | None = None
        self._doubled = False
        self._rolls = options.roll
        self._told_unstarted = False
        self._left: list[bytes] = []
        self._epoch = 0
        self._rolling = False
        # Since when it is stopped, if everything is as it was, and the answers that have come since.
        self._held_since: float | None = None
        self._held: list[Answer] = []
        self._turn_index = 0
        # The loop that the last call was asked an answer for.
        self._answers_in: int | None = None
        self._answers = Answers()
        self._desk = Desk(preset.knobs, options.bindings, options.takeover, DEFAULTS[options.controls])
        self._taps = Taps()
        self._ear = Ear(options)
        # A parameter changed while the present answer was being made anew.
        self._turned = False
        self._plays: int | None = None
        self._awaited: int | None = None
        self._pending = Pending()
        self._hands = Hands()
        self._peers = 0
        self._entered = 0
        self._next_beat = 0
        self._heard: Heard | None = None
        # The model hears the input note by note, in every mode.
        self._hears = options.hears
        self._at: At = "idle"
        self._turn_was: Turn = "none"
        self._tune()

    # ---- what happens -------------------------------------------------------------------------------------------

    def step(self, now: float, event: Event | None = None) -> Output:
        """Let time pass up to `now` (seconds on any steady clock), and handle what happened then.

        Steps must come in order of time, and no later than the last `Output.wake_at`.
        """
        out = Output()
        if overslept := self._wake is not None and now > self._wake + _ASLEEP_S:
            self._oversleep(now, now - self._wake, out)
        if self._held_since is not None and now > self._held_since + _HELD_S:
            self._forget()
        # A clock that is here has not stopped: if it is late, this process stood still, and the next ones wait as well.
        is_clock = isinstance(event, Received) and event.data[:1] == _CLOCK
        if overslept or not is_clock:
            self._expire(now, out)
        match event:
            case Received():
                for message in self._parsers.setdefault(event.port, midi.Parser()).feed(event.data):
                    self._hear(now, event.port, message, out)
            case Answer() if self._held_since is not None:
                self._held.append(event)
            case Answer():
                self._take_answer(now, event, out)
            case Turned():
                self._turn(now, event, None, out)
            case Paced():
                self.transport.set_tempo(now, event.tempo)
            case Used():
                self.use = event.use
            case Pressed():
                self._press(now, event, out)
            case Learn():
                self._desk.learn(event, out)
            case Warmed():
                self._pace.ready(now, event.seconds, event.cold_s)
                self._hears = event.hears
                if event.pitched is not None:
                    self._ear.pitched = event.pitched
                    self._looper.without = self._ear.left_out
            case Plugged():
                self._plug(now, event, out)
            case Chosen():
                self._chosen = event.preset
                if self._held_since is not None:
                    self._forget()
                if self._chosen is not None and self.transport.state is not State.ROLLING:
                    self._switch(now, out)
            case Linked():
                self._link(now, event, out)
            case Left():
                self._take_over(now, event, out)
        if is_clock:
            # Unless it came from a source that is not followed.
            self._expire(now, out)
        self._advance(now, out)
        if self._at != self.at:
            self._at = self.at
            self._desk.light(self._at, out)
        if self._turn_was != self.turn:
            self._turn_was = self.turn
            self._desk.light_turn(self._turn_was, out)
        out.takes_back = self._ledger.took_back()
        out.wake_at = self._wake = self._wake_at()
        return out

    def end(self) -> list[bytes]:
        """Return the messages that end every sounding note; send them last, before the port closes."""
        self._player.clear()
        stop = self._clock_out.changed(Change.STOPPED, 0) if self._clock_out is not None else []
        return self._ledger.release(thru=True) + stop

    def _hear(self, now: float, port: int, message: bytes, out: Output) -> None:
        if message[0] >= 0xF0:
            if self._sources.admits(now, port, message, self.transport.state is not State.STOPPED):
                self._broke(now, self.transport.feed(now, message), out)
                self._place()
                self._look_for_start(now, out)
                if self.transport.doubled and not self._doubled:
                    out.notices.append(DoubledClock(port))
                self._doubled = self.transport.doubled or (self._doubled and self.transport.crowded)
            elif self._sources.is_news(now, port):
                out.notices.append(ForeignClock(port))
            return
        self._ear.feed(port, message)
        self._looper.without = self._ear.left_out
        if (done := self._desk.feed(port, message, out)) is not None:
            for each in done:
                if isinstance(each, Turned):
                    self._turn(now, each, port, out)
                else:
                    self._press(now, each, out)
            return
        if message[0] & 0xF0 == 0xC0 and self._ear.selects(port, message):
            out.requests.append(SelectPreset(str(message[1] + 1)))
            return
        self._hands.feed(port, message)
        if self._thru is not None:
            out.messages += self._thru.feed(message)
        if midi.is_note_on(message) and not (self._ear.listens_to(message) and message[1] >= self.knobs["split"]):
            return
        if self._ear.is_news(message):
            out.notices.append(DrumsLeftOut())
        # A turn that is due before the note comes first.
        self._advance(now, out)
        self._pending.add(now, message)
        self._place()

    def _look_for_start(self, now: float, out: Output) -> None:
        """Say once that a clock comes without Start, and roll at the next bar if that is wanted."""
        since = self.transport.unstarted
        if since is None or self._told_unstarted:
            return
        self._told_unstarted = True
        out.notices.append(NoStart(self.transport.tempo, self._rolls))
        if self._rolls:
            self._roll(now, since, out)

    def _roll(self, now: float, downbeat: float, out: Output) -> None:
        """Roll one bar after a downbeat, with a clock that came without Start."""
        bar = self.preset.metre.bar
        self._broke(now, self.transport.roll(now, downbeat, -bar, bar), out)

    def _place(self) -> None:
        """Hand input to the looper as soon as its ticks are known.

        A downbeat may come with the first clock or just before it, but there is no tempo before the second clock.
        """
        state = self.transport.state
        if state is State.ARMED or (state is State.ROLLING and not self.transport.settled):
            return
        self._pending.place(self.transport, self._looper, self._entered - max(PRE_ROLL, self._ticks(_EARLY_S)))

    def _plug(self, now: float, event: Plugged, out: Output) -> None:
        """Handle a port that came back or went away."""
        if event.direction == "out":
            if event.there:
                out.messages += self._ledger.plug() + self._left
                self._left = []
            else:
                self._ledger.unplug()
        elif not event.there:
            # A keyboard that is gone no longer holds keys or pedals.
            for message in self._hands.let_go(event.port):
                self._hear(now, event.port, message, out)
        out.notices.append(PortChanged(event.port, event.name, event.there))

    def _take_over(self, now: float, left: Left, out: Output) -> None:
        """End what a crashed rtgen left sounding, and roll on where its song is by now."""
        # Again when the output comes back or the song rolls: until then nobody may have been connected.
        self._left = self._ledger.end_all(left.sounding, left.channels)
        if self._ledger.plugged:
            out.messages += self._left
        if left.at is not None:
            self._broke(now, self.transport.roll(now, left.at, left.tick, self.preset.metre.bar), out)
        if left.sounding or left.at is not None:
            out.notices.append(TakenOver(len(left.sounding), left.at is not None))

    def _link(self, now: float, event: Linked, out: Output) -> None:
        """Follow the Link session."""
        assert isinstance(self.transport, LinkClock)
        if event.peers != self._peers:
            self._peers = event.peers
            out.notices.append(PeersChanged(event.peers))
        self._broke(now, self.transport.follow(event), out)
        self._broke(now, self.transport.expire(now), out)
        self._place()

    # ---- knobs and buttons ----------------------------------------------------------------------------------------

    def _turn(self, now: float, turned: Turned, port: int | None, out: Output) -> None:
        """Set a parameter, from the controller at an input or from elsewhere."""
        if not self._desk.turn(turned, port, out):
            return
        match PARAMETERS[turned.name].acts:
            case "play":
                self._tune()
            case "next":
                self._replay(now)
            case "answer":
                self._remake(now, out)

    def _tune(self) -> None:
        """Hand the playback parameters to the player."""
        self._player.transpose = round(self.knobs["transpose"])
        self._player.gate, self._player.loudness = self.knobs["gate"], self.knobs["loudness"]

    def _press(self, now: float, pressed: Pressed, out: Output) -> None:
        if pressed.down is False and pressed.button not in ("freeze", "mute"):
            return
        match pressed.button:
            case "freeze":
                released: Use = "answer" if self.preset.use == "hold" else self.preset.use
                freezes = self.use != "hold" if pressed.down is None else pressed.down
                self.use = "hold" if freezes else released
                self._desk.show("freeze", float(freezes), out)
            case "mute":
                self._player.muted = not self._player.muted if pressed.down is None else pressed.down
                if self._player.muted:
                    out.messages += self._ledger.release(thru=False)
                self._desk.show("mute", float(self._player.muted), out)
            case "store_a" | "store_b":
                which: Literal["a", "b"] = "a" if pressed.button == "store_a" else "b"
                out.notices.append(Stored(which, self._memory.store(which)))
                if self.preset.mode == "blend":
                    self._remake(now, out)
            case "regenerate":
                self._remake(now, out, seed=True)
            case "back":
                if self._answers.back():
                    self._replay(now)
            case "keep":
                out.requests.append(KeepAnswer(self.present, self.preset, self.transport.tempo))
            case "clear":
                self._answers, self._memory, self._awaited = Answers(), Memory(), None
                self._player.clear()
                out.messages += self._ledger.release(thru=False)
            case "tap":
                if (tapped := self._taps.tap(now)) is not None:
                    self.transport.set_tempo(now, tapped)
            case "roll":
                if self.transport.hears(now):
                    self._roll(now, now, out)
                else:
                    out.notices.append(NoClock())
            case "next_preset" | "previous_preset":
                out.requests.append(SelectPreset(pressed.button.removesuffix("_preset")))
            case "panic":
                self._player.clear()
                out.messages += self._ledger.panic()

    # ---- changing the present answer ------------------------------------------------------------------------------

    def _next_change(self, now: float, after_s: float) -> tuple[int, int] | None:
        """Return the tick from which the present answer can change, and its loop's start; None if it does not play.

        Args:
            now: seconds.
            after_s: how long the change takes, in seconds.
        """
        if self.transport.state is not State.ROLLING or self.present is None:
            return None
        unit = self.preset.metre.bar if self.knobs["quantise"] else PPQN
        earliest = self.transport.tick_at(now + after_s + max(self._offset, 0.0) + self._ahead_s)
        return next_change(self.transport.tick_at(now), earliest, self.preset.length, unit, self.use, self._plays)

    def _replay(self, now: float) -> None:
        """Play the present answer from the next beat or bar on."""
        change = self._next_change(now, 0.0)
        if change is not None and self.present is not None:
            self._play(self.present, change[1], change[0])

    def _remake(self, now: float, out: Output, *, seed: bool = False) -> None:
        """Ask for the present answer again with the current parameters; `seed` asks for a different one."""
        job = self._answers.job
        if self._answers.remaking(now) and not seed:
            self._turned = True
            return
        self._turned = False
        lead_s = self._pace.remake_s
        change = self._next_change(now, lead_s)
        if job is None or change is None:
            return
        if seed:
            self._jobs += 1
        target, start = change
        remade = replace(
            job,
            target=target,
            epoch=self._epoch,
            knobs=dict(self.knobs),
            seed=self._seed_of(self._jobs) if seed else job.seed,
            ends=self._memory.ends(job.loop) if job.mode == "blend" else None,
            model=self.preset.model,
        )
        if job.mode == self.preset.mode:
            self._answers.ask(Asked(remade, now, lead_s, start), start - 4 * self.preset.length)
            out.jobs.append(remade)

    def _play(self, loop: Loop, start: int, from_tick: int) -> None:
        self._plays = start
        self._player.replace(swung(loop, self.knobs["swing"]), start, from_tick)

    # ---- breaks in the song's time --------------------------------------------------------------------------------

    def _oversleep(self, now: float, gap: float, out: Output) -> None:
        """Skip what was due while the machine slept."""
        out.notices.append(Overslept(gap))
        self._broke(now, self.transport.skip(now, gap), out)

    def _expire(self, now: float, out: Output) -> None:
        """Handle deadlines of the transport: the clocks' silence may settle a message in doubt, and end the song."""
        self._broke(now, self.transport.expire(now), out)
        while (deadline := self.transport.deadline) is not None and now >= deadline:
            self._broke(now, self.transport.expire(now), out)

    def _broke(self, now: float, change: Change | None, out: Output) -> None:
        if change is None:
            return
        was_rolling, self._rolling = self._rolling, change is Change.ROLLED
        out.messages += self._ledger.release(thru=False)
        if change is Change.STOPPED and self._chosen is None and was_rolling:
            # It may go on at once, as where a sequencer sends Stop, Song Position and Continue each time round.
            self._held_since = now
            if self._clock_out is not None:
                out.messages += self._clock_out.changed(change, self.transport.tick)
            out.notices.append(Halted("stopped"))
            return
        if change is Change.ROLLED and self._held_since is not None and self.transport.resumed:
            self._go_on_after_stop(now, out)
            return
        self._forget()
        if self._chosen is not None:
            self._switch(now, out)
        tick = self.transport.tick
        if self._clock_out is not None:
            out.messages += self._clock_out.changed(change, tick)
        if change is Change.ROLLED:
            if was_rolling:
                out.notices.append(Halted("located"))
            self._told_unstarted = False
            if self._ledger.plugged:
                out.messages += self._left
                self._left = []
            out.notices.append(Rolling(self._in_song(tick // self.preset.length), self.preset.bars))
            self._enter(tick)
            self._pending.take_back(now)
            self._place()
        else:
            out.notices.append(Halted(_WHY[change]))

    def _forget(self) -> None:
        """Drop everything that was planned, and what was captured."""
        self._held_since, self._held = None, []
        self._epoch += 1
        self._answers.cancel()
        self._awaited = None
        self._player.clear()
        self._looper.cancel()

    def _go_on_after_stop(self, now: float, out: Output) -> None:
        """Go on with everything that was planned before a Stop that was none."""
        self._held_since = None
        out.notices.append(Rolling(self._in_song(self.transport.tick // self.preset.length), self.preset.bars))
        held, self._held = self._held, []
        for answer in held:
            self._take_answer(now, answer, out)

    def _enter(self, tick: int) -> None:
        """Start in the loop that `tick` is in."""
        index = tick // self.preset.length
        self._entered = tick
        self._drafted = self._answers_in = None
        self._next_beat = tick
        self._turn_index = index + 1
        if self._captures(index):
            self._looper.begin(index * self.preset.length)
        elif self.use == "hold" and self.present:
            self._play(self.present, index * self.preset.length, tick)

    def _in_song(self, index: int) -> int:
        """Return which loop of the song a loop is, as a song that goes round plays its loops again."""
        return index - self.transport.ahead // self.preset.length

    def _rebase(self, out: Output) -> int:
        """Count from the song's start again, as loops of another length need not fit after whole loops of this one.

        Returns:
            By how many ticks everything went back; what was planned is dropped then.
        """
        back = self.transport.rebase()
        if back:
            self._epoch += 1
            self._answers.cancel()
            self._awaited = None
            self._player.clear()
            out.messages += self._ledger.release(thru=False)
        return back

    def _switch(self, now: float, out: Output) -> None:
        """Let the chosen preset take over; an answer whose length does not fit its loops is dropped."""
        assert self._chosen is not None
        preset, self._chosen = self._chosen, None
        if (preset.length, preset.metre) != (self.preset.length, self.preset.metre):
            # An answer that is still to come has the wrong length as well.
            self._answers.silence()
            self._answers.cancel()
            self._awaited = None
        self._turned = False
        self.preset, self.use, self.transport.loop = preset, preset.use, preset.length
        self._desk.load(preset.knobs, out)
        self._tune()
        self._player.channel = preset.channel - 1
        self.transport.set_tempo(now, preset.tempo)
        out.notices.append(PresetChanged(preset))

    # ---- time passes ----------------------------------------------------------------------------------------------

    def _advance(self, now: float, out: Output) -> None:
        if self.transport.state is not State.ROLLING:
            return
        while now >= self._turn_at():
            self._take_turn(now, out)
        if (draft_at := self._draft_at()) is not None and now >= draft_at:
            self._ask_draft(now, out)
        if self._awaited is not None and now >= self._patience_ends(self._awaited):
            if self._answers.awaits(self._awaited):
                self._do_without(self._awaited, out)
            self._awaited = None
        if self._tells and now >= self.transport.time_at(self._next_beat):
            self._tell(now, out)
        if self._clock_out is not None:
            out.messages += self._clock_out.due(now, self._leaves_at, self._ahead_s)
        out.messages += self._player.due(now, self._leaves_at, self._ahead_s)

    def _wake_at(self) -> float | None:
        if self.transport.state is not State.ROLLING:
            return self.transport.deadline
        times = [self._turn_at()]
        if (draft_at := self._draft_at()) is not None:
            times.append(draft_at)
        if self._tells:
            times.append(self.transport.time_at(self._next_beat))
        if self._awaited is not None:
            times.append(self._patience_ends(self._awaited))
        ticks = [self._player.next_tick(), self._clock_out.next_tick() if self._clock_out is not None else None]
        times += [self._leaves_at(tick) - self._ahead_s for tick in ticks if tick is not None]
        if (deadline := self.transport.deadline) is not None:
            times.append(deadline)
        return min(times)

    def _leaves_at(self, tick: int) -> float:
        """Return when a message for a tick is sent, in seconds."""
        return self.transport.time_at(tick) - self._offset

    @property
    def _tells(self) -> bool:
        """Whether the model is shown the input before it has to answer."""
        return self._looper.capturing and (self.preset.mode == "continue" or self._hears)

    def _tell(self, now: float, out: Output) -> None:
        """Show the model the input so far, once a beat, so that little is left to read when it has to answer."""
        self._next_beat = max(self._next_beat, self.transport.tick_at(now) // PPQN * PPQN) + PPQN
        complete = self._looper.complete(self.preset.length, self.preset.metre.bar)
        heard = Heard(self._memory.past, complete, dict(self.knobs))
        if heard != self._heard:
            out.heard = self._heard = heard

    def _draft_at(self) -> float | None:
        """Return when to ask for a draft, in seconds; None if there is nothing to ask for or it was asked for."""
        if not self._looper.capturing or self._drafted == self._turn_index or not self._asks(self._looper.heard):
            return None
        return self._turn_at() - self._pace.draft_s

    def _asks(self, heard: bool) -> bool:
        """Return whether a call is answered: a silent one only by a blend, which lies between two stored loops."""
        return heard or (self.preset.mode == "blend" and self._memory.both)

    def _ask_draft(self, now: float, out: Output) -> None:
        """Ask for an answer to the input so far: it warms up the model, and plays if the real answer is late."""
        self._drafted = self._turn_index
        preset = self._chosen or self.preset
        if (preset.length, preset.metre) == (self.preset.length, self.preset.metre):
            start = self._turn_index * preset.length
            call = self._looper.so_far(preset.length, preset.metre.bar)
            out.draft = replace(self._job(call, start, self._jobs + 1, preset), draft=True)
            self._answers.ask_draft(Asked(out.draft, now, self.lead.seconds, start))

    def _captures(self, index: int) -> bool:
        """Return whether the input in a loop is captured."""
        return is_call(self.use, asked=index == self._answers_in, answered=self.present is not None)

    def _turn_at(self) -> float:
        """Return when to prepare the next loop, in seconds."""
        boundary = self.transport.time_at(self._turn_index * self.preset.length)
        capturing = self._looper.capturing
        lead_s = max(self._offset, 0.0) + self.lead.seconds if capturing else 0.0
        if not (capturing and self._asks(self._looper.heard)):
            # There is nothing to answer yet: an early downbeat is the first note of the next loop.
            lead_s = max(lead_s, PRE_ROLL * seconds_per_tick(self.transport.tempo))
        return boundary - lead_s

    def _ticks(self, seconds: float) -> int:
        """Return the number of ticks in so many seconds."""
        return round(seconds / seconds_per_tick(self.transport.tempo))

    def _take_turn(self, now: float, out: Output) -> None:
        """End the present loop and prepare the next one, whose index is `_turn_index`."""
        index, length = self._turn_index, self.preset.length
        start = index * length
        self._turn_index += 1
        call = self._looper.take(length, self.preset.metre.bar) if self._looper.capturing else None
        if self._chosen is not None:
            self._switch(now, out)
            if length != self.preset.length:
                # Its loops start elsewhere: end what sounds; the first of its loops may have begun.
                start -= self._rebase(out)
                self._play(Loop(length), start, start)
                self._enter(start)
                self._pending.take_back(now)
                self._place()
                return
        if call is not None:
            if asked := self._asks(bool(call.notes)):
                out.jobs.append(self._ask(call, start, now))
                self._awaited, self._answers_in = start, index
            elif self.use == "follow":
                self._answers.silence()
            self._memory.hear(call)
            out.notices.append(Called(self._in_song(index - 1), self.preset.bars, call, asked))
        if self.use != "answer" and self._awaited != start:
            self._go_on(start)
        if self._captures(index):
            self._looper.begin(start)

    def _patience_ends(self, target: int) -> float:
        """Return until when an answer may start on its boundary, in seconds."""
        return self.transport.time_at(target) - self._offset + _SLACK_S

    def _do_without(self, start: int, out: Output) -> None:
        """Play the draft of a late answer, or go on with what played before."""
        draft = self._answers.play_draft(start)
        if draft is None:
            self._go_on(start)
        else:
            self._play(draft, start, start)
            index = self._in_song(start // self.preset.length)
            out.notices.append(DraftPlayed(index, self.preset.bars, draft))

    def _go_on(self, start: int) -> None:
        """Play the present answer once more, until the next one comes."""
        self._play(self.present or Loop(self.preset.length), start, start)

    def _ask(self, call: Loop, target: int, now: float) -> Job:
        self._jobs += 1
        job = self._job(call, target, self._jobs, self.preset)
        draft = self._answers.drafted(target)
        warm = self._pace.is_warm(draft) and draft is not None and draft.job.model == job.model
        # Jobs that are never answered are forgotten some loops later.
        self._answers.ask(Asked(job, now, self.lead.seconds, target, warm), target - 4 * self.preset.length)
        return job

    def _job(self, call: Loop, target: int, number: int, preset: Preset) -> Job:
        """Return job `number` as the preset would ask for it."""
        ends = self._memory.ends(call) if preset.mode == "blend" else None
        knobs = dict(self.knobs if preset is self.preset else preset.knobs)
        past = self._memory.past if preset.mode == "continue" or self._hears else ()
        seed = self._seed_of(number)
        return Job(call, preset.mode, seed, target, self._epoch, knobs, past, ends, model=preset.model)

    def _seed_of(self, job: int) -> int:
        return (self._seed << 24) + job

    def _take_answer(self, now: float, answer: Answer, out: Output) -> None:
        take = self._answers.take_draft if answer.draft else self._answers.take
        asked = take(answer.target, answer.loop) if answer.epoch == self._epoch else None
        if asked is None:
            return
        following = self._chosen or self.preset
        if (asked.job.model, asked.job.mode) == (following.model, following.mode):
            # Otherwise it says nothing about how long the next answer takes.
            self._pace.measured(asked, now)
        if answer.draft:
            return
        late = now > self._patience_ends(answer.target)
        from_tick = answer.target
        if late:
            from_tick = rounded_up(self.transport.tick_at(now + self._offset + self._ahead_s), self.preset.metre.bar)
        outcome: Literal["answer", "late", "missed"] = "late" if late else "answer"
        if from_tick < asked.start + self.preset.length:
            self._play(answer.loop, asked.start, from_tick)
        else:
            outcome = "missed"
        index, bars = self._in_song(asked.start // self.preset.length), self.preset.bars
        out.notices.append(Answered(index, bars, answer.loop, outcome, now - asked.at, asked.lead_s))
        if self._turned:
            self._remake(now, out)

    # ---- state, for display ----------------------------------------------------------------------------------------

    @property
    def at(self) -> At:
        """The current activity; if several apply, the latest stage of a note's path, except that waiting wins."""
        if self.transport.state is not State.ROLLING:
            return "idle"
        if self._answers.waiting:
            return "thinking"
        if self._player.next_tick() is not None and self.present is not None:
            return "answering"
        return "listening" if self._looper.capturing else "idle"

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        if self.transport.state is not State.ROLLING:
            return "none"
        return "yours" if self._looper.capturing else "answer"

    @property
    def chosen(self) -> Preset | None:
        """The preset that takes over at the next boundary; None if none was chosen."""
        return self._chosen

    @property
    def listens(self) -> int | None:
        """The MIDI channel, 1-16, that is heard; None for all."""
        return self._ear.listens

    @property
    def lead(self) -> Lead:
        """How long before a boundary a loop goes to the model."""
        return self._pace.warm

    @property
    def knobs(self) -> Mapping[str, float]:
        """The value of every parameter."""
        return self._desk.knobs

    def controls(self, port: int) -> Controls:
        """Return the controls of an input."""
        return self._desk.controls(port)

    def position(self, now: float) -> int | None:
        """Return the tick at `now`; None unless rolling."""
        if self.transport.state is not State.ROLLING:
            return None
        return self.transport.tick_at(now) - self.transport.ahead

    def played(self, now: float) -> tuple[Note, ...]:
        """Return what has been captured of the present loop."""
        return self._looper.notes(self.transport.tick_at(now)) if self.transport.state is not State.STOPPED else ()

    @property
    def muted(self) -> bool:
        """Whether answers are muted."""
        return self._player.muted

    @property
    def present(self) -> Loop | None:
        """The present answer."""
        return self._answers.present
