"""The instrument as one state machine: events with their times go in; messages, jobs and a wake-up time come out.

A session owns all musical state and touches no clock, port, thread or file. The daemon, the offline renderer, the demo
and the tests drive the same object.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from typing import Literal

from rtgen.instrument import notices
from rtgen.instrument.along import Along, Coming
from rtgen.instrument.answers import Answers, Asked, Begun, Outcome
from rtgen.instrument.asking import Asking
from rtgen.instrument.binding import DEFAULTS
from rtgen.instrument.capture import Capture
from rtgen.instrument.clocks.transport import Change, State
from rtgen.instrument.controls import Controls
from rtgen.instrument.desk import At, Desk, Taps
from rtgen.instrument.ear import Ear
from rtgen.instrument.events import (
    Chosen,
    Event,
    Given,
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
from rtgen.instrument.halt import Halt
from rtgen.instrument.job import Answer, Job, Plan
from rtgen.instrument.keeping import Keeping
from rtgen.instrument.layers import Layers
from rtgen.instrument.lead import Lead, Pace
from rtgen.instrument.opening import First
from rtgen.instrument.options import Options
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import Preset, Use
from rtgen.instrument.rounds import Rounds
from rtgen.instrument.song import Breaks, Song
from rtgen.instrument.sound import Sound
from rtgen.instrument.thru import Hands
from rtgen.instrument.turns import Turn, is_call, rounded_up
from rtgen.music import midi
from rtgen.music.hand import Moved
from rtgen.music.note import Loop, Note
from rtgen.music.time import PPQN, TICKS_PER_SIXTEENTH

_ASLEEP_S = 1.0
"""If a step comes this much later than requested, the machine slept or the process was stopped."""
_CLOCK = bytes([midi.CLOCK])
_WHY: Mapping[Change, Literal["stopped", "lost", "located"]] = {
    Change.STOPPED: "stopped",
    Change.LOST: "lost",
    Change.LOCATED: "located",
}


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
        self._song = Song(options, preset)
        self.transport = self._song.transport
        self.preset = preset
        self.use: Use = preset.use
        self._pace = Pace()
        self._opening = self._song.opening
        self._rounds = Rounds(self.transport, options, self._pace)
        self._asking = Asking(options.seed, hears=options.hears)
        self._answers = Answers()
        self._keeping = Keeping()
        self._halt = Halt()
        self._layers = Layers(self._answers)
        self._sound = Sound(self.transport, options, preset.channel - 1, self._layers)
        self._along = Along(self.transport, self._sound, options)
        self._capture = Capture(self.transport, gestures=options.gestures, also=(self._along.looper,))
        self._looper = self._capture.looper
        self._parsers: defaultdict[int, midi.Parser] = defaultdict(midi.Parser)
        self._hands = Hands(gestures=options.gestures)
        self._ear = Ear(options)
        self._desk = Desk(preset.knobs, options.bindings, options.takeover, DEFAULTS[options.controls])
        self._taps = Taps()
        self._chosen: Preset | None = None
        self._wake: float | None = None
        # Until when nothing is due, if nothing but music comes before; the past, if that is not known.
        self._still_until = -inf
        self._rolling = False
        # A parameter changed while the present answer was being made anew.
        self._turned = False
        # The present answer is to be played anew once all of it is there.
        self._replays = False
        self._tune()

    # ---- what happens -------------------------------------------------------------------------------------------

    def step(self, now: float, event: Event | None = None) -> Output:
        """Let time pass up to `now` (seconds on any steady clock), and handle what happened then.

        Steps must come in order of time, and no later than the last `Output.wake_at`.
        """
        out = Output()
        if isinstance(event, Received) and now < self._still_until and event.data[:1] < b"\xf0":
            if self._play_on(now, event, out):
                return out
        else:
            self._happen(now, event, out)
        dues = self._advance(now, out)
        out.requests += self._keeping.due(now, self._answers.begun)
        self._desk.light(self.at, self.turn, out)
        out.takes_back = self._sound.took_back()
        out.wake_at = self._wake = self._wake_at(dues)
        self._still_until = self._wake if self._wake is not None and self._is_steady else -inf
        return out

    def _play_on(self, now: float, event: Received, out: Output) -> bool:
        """Handle a channel message that comes while nothing is due.

        Returns:
            Whether nothing of what is due has changed, as with nearly everything that is played: thousands of messages
            a second, at times.
        """
        still_until, heard = self._still_until, self._looper.heard
        same = True
        for message in self._parsers[event.port].feed(event.data):
            same = self._hear(now, event.port, message, out) and same
        if not same or self._looper.heard != heard:
            return False
        self._still_until = still_until
        out.takes_back, out.wake_at = self._sound.took_back(), self._wake
        return True

    def _happen(self, now: float, event: Event | None, out: Output) -> None:
        if overslept := self._wake is not None and now > self._wake + _ASLEEP_S:
            self._break(now, self._song.skip(now, now - self._wake, out), out)
        if self._halt.over(now):
            self._forget()
        # A clock that is here has not stopped: if it is late, this process stood still, and the next ones wait as well.
        is_clock = isinstance(event, Received) and event.data[:1] == _CLOCK
        if overslept or not is_clock:
            self._break(now, self._song.expire(now), out)
        match event:
            case Received():
                for message in self._parsers[event.port].feed(event.data):
                    self._hear(now, event.port, message, out)
            case Answer():
                if not self._halt.keep(event):
                    self._take_answer(now, event, out)
            case Plan():
                if self._along.take(now, event, self.knobs):
                    out.notices.append(notices.PlanLate())
            case Turned():
                self._turn(now, event, None, out)
            case Paced():
                self.transport.set_tempo(now, event.tempo)
            case Used():
                self._use(event.use, out)
            case Pressed():
                self._press(now, event, out)
            case Learn():
                self._desk.learn(event, out)
            case Warmed():
                self._pace.ready(now, event.seconds, event.cold_s)
                self._asking.hears = event.hears
                self._along.unknown()
                if event.pitched is not None:
                    self._ear.pitched = event.pitched
                    self._capture.leave_out(self._ear.left_out)
            case Plugged():
                self._plug(now, event, out)
            case Chosen():
                self._chosen = event.preset
                if self._halt.lasts:
                    self._forget()
                if self._chosen is not None and self.transport.state is not State.ROLLING:
                    self._switch(now, out)
            case Linked():
                self._break(now, self._song.link(now, event, out), out)
                self._place()
            case Given():
                self._asking.given = event.loop
            case Left():
                self._take_over(now, event, out)
        if is_clock:
            # Unless it came from a source that is not followed.
            self._break(now, self._song.expire(now), out)

    def end(self) -> list[bytes]:
        """Return the messages that end every sounding note; send them last, before the port closes."""
        return self._sound.end()

    def _hear(self, now: float, port: int, message: bytes, out: Output) -> bool:
        """Handle a message, and return whether it is music that changes nothing of what is due."""
        # Whatever the message does, what is due may be another matter after it.
        still_until, self._still_until = self._still_until, -inf
        if message[0] >= 0xF0:
            self._break(now, self._song.hear(now, port, message, out), out)
            self._place()
            return False
        self._ear.feed(port, message)
        self._capture.leave_out(self._ear.left_out)
        if (done := self._desk.feed(port, message, out)) is not None:
            for each in done:
                if isinstance(each, Turned):
                    self._turn(now, each, port, out)
                else:
                    self._press(now, each, out)
            return False
        if message[0] & 0xF0 == 0xC0 and self._ear.selects(port, message):
            out.requests.append(notices.SelectPreset(str(message[1] + 1)))
            return False
        self._hands.feed(port, message)
        out.messages += self._sound.thru(message)
        if not self._ear.listens_to(message) and not midi.is_note_off(message):
            return True
        if self._along.left.feed(now, message, self.knobs["split"]):
            return True
        if self._ear.is_news(message):
            out.notices.append(notices.DrumsLeftOut())
        if self.transport.hear(now, message) or (self._layers.ends and midi.is_note_on(message)):
            return True
        # A turn that is due before the note comes first. Most messages come when nothing is.
        if now >= still_until:
            self._advance(now, out)
        self._capture.add(now, message)
        self._place()
        return now < still_until

    @property
    def _is_steady(self) -> bool:
        """Whether music alone changes nothing of what is due, and time nothing before `_wake`."""
        return (
            self.transport.state is State.ROLLING
            and self.clock != "player"
            and not (self._along.on or self._halt.lasts or self._keeping.waits)
        )

    def _place(self) -> None:
        if self._capture.waits:
            self._capture.place(self._rounds.earliest)

    def _plug(self, now: float, event: Plugged, out: Output) -> None:
        """Handle a port that came back or went away."""
        if event.direction == "out":
            if event.there:
                out.messages += self._sound.plug()
            else:
                self._sound.unplug()
        elif not event.there:
            # A keyboard that is gone no longer holds keys or pedals.
            for message in self._hands.let_go(event.port):
                self._hear(now, event.port, message, out)
        out.notices.append(notices.PortChanged(event.port, event.name, event.there))

    def _take_over(self, now: float, left: Left, out: Output) -> None:
        """End what a crashed rtgen left sounding, and roll on where its song is by now."""
        out.messages += self._sound.take_over(left)
        self._break(now, self._song.take_over(now, left), out)
        if left.sounding or left.at is not None:
            out.notices.append(notices.TakenOver(len(left.sounding), left.at is not None))

    # ---- knobs and buttons ----------------------------------------------------------------------------------------

    def _turn(self, now: float, turned: Turned, port: int | None, out: Output) -> None:
        """Set a parameter, from the controller at an input or from elsewhere."""
        if not self._desk.turn(turned, port, out):
            return
        match PARAMETERS[turned.name].acts:
            case "play":
                self._tune()
                self._along.tune(now, self.knobs)
                if turned.name == "gate" and self.present is not None and self.present.hand:
                    self._replay(now)  # whether pedals hold its notes may be another matter now
            case "next":
                self._replay(now)
            case "answer":
                self._remake(now, out)

    def _tune(self) -> None:
        """Hand the playback parameters to what plays."""
        self._sound.tune(self.knobs if not self.preset.along else {**self.knobs, "transpose": 0})
        self.transport.give = self.knobs["give"] / 100

    def _press(self, now: float, pressed: Pressed, out: Output) -> None:
        if pressed.down is False and not BUTTONS[pressed.button].stays:
            return
        match pressed.button:
            case "freeze" if self.preset.along:
                self._use("hold", out)
            case "freeze":
                released: Use = "answer" if self.preset.use == "hold" else self.preset.use
                freezes = self.use != "hold" if pressed.down is None else pressed.down
                self.use = "hold" if freezes else released
                self._desk.show("freeze", float(freezes), out)
            case "mute":
                player = self._sound.player
                player.muted = not player.muted if pressed.down is None else pressed.down
                if player.muted:
                    out.messages += self._sound.release()
                self._desk.show("mute", float(player.muted), out)
            case "overdub":
                self._overdub(not self._layers.on if pressed.down is None else pressed.down, out)
            case "undo":
                self._undo(now, out)
            case "store_a" | "store_b":
                which: Literal["a", "b"] = "a" if pressed.button == "store_a" else "b"
                out.notices.append(notices.Stored(which, self._asking.memory.store(which)))
                if self.preset.mode == "blend":
                    self._remake(now, out)
            case "regenerate":
                self._remake(now, out, seed=True)
            case "back" | "forward":
                recalled = self._answers.recall(pressed.button)
                if recalled.moved:
                    self._replay(now)
                out.notices.append(recalled)
            case "keep":
                kept = self._along.kept(self.preset) if self.preset.along else self.present or self._layers.top
                out.requests += self._keep(now, [kept])
            case "keep_all":
                out.requests += self._keep(now, self._all_of_it())
            case "answer_clip" | "vary_clip":
                out.requests.append(notices.UseClip("answer" if pressed.button == "answer_clip" else "vary"))
            case "clear":
                self._asking.forget()
                self._layers.clear()
                self._desk.show("overdub", 0.0, out)
                self._answers.clear()
                self._rounds.awaited = None
                self._sound.clear()
                out.messages += self._sound.release()
                if self._along.on:
                    self._asking.epoch += 1
                    self._along.forget()
                    self._along.begin(self._asking.epoch, self.transport.tick_at(now))
            case "tap":
                if (tapped := self._taps.tap(now)) is not None:
                    self.transport.set_tempo(now, tapped)
            case "close" | "half" | "double":
                self._break(now, self._opening.press(now, pressed.button, out), out)
            case "roll":
                self._break(now, self._song.roll(now, out), out)
            case "next_preset" | "previous_preset":
                out.requests.append(notices.SelectPreset(pressed.button.removesuffix("_preset")))
            case "panic":
                out.messages += self._sound.panic()

    def _use(self, use: Use, out: Output) -> None:
        """Use answers otherwise, if the preset's mode can be used so."""
        if (use == "along") == self.preset.along:
            self.use = use
        else:
            out.notices.append(notices.CannotUse(use))

    def _all_of_it(self) -> Sequence[Loop | None]:
        """The layers and the present answer, or without layers all answers to one call."""
        if self.preset.along:
            return (self._along.kept(self.preset),)
        if self._layers.count:
            return [*(layer.loop for layer in self._layers), *([self.present] if self.present else [])]
        return self._answers.proposals or (None,)

    def _keep(self, now: float, loops: Sequence[Loop | None]) -> list[notices.KeepAnswer]:
        return self._keeping.keep(now, loops, self.preset, self.transport.tempo, self._answers.begun)

    # ---- layers ---------------------------------------------------------------------------------------------------

    def _overdub(self, on: bool, out: Output) -> None:
        """Begin or end to lay what is played on what goes round."""
        index, rolls = self._rounds.next - 1, self.transport.state is State.ROLLING
        if on != self._layers.on:
            heard = self._sound.plays == index * self.preset.length if rolls else self.use == "hold"
            self._layers.press(on, heard=heard)
            if on and rolls and not self._looper.capturing:
                self._capture.begin(index)
            if not rolls:
                self._layers.broke(self._sound.player.voice)
        self._desk.show("overdub", float(on), out)
        out.notices.append(notices.Layered(on, self._layers.count))

    def _undo(self, now: float, out: Output) -> None:
        """Take away what was overdubbed in this loop, or else the newest layer."""
        layers = self._layers
        undone: Literal["layer", "pass", "nothing"] = "layer" if layers.count else "nothing"
        if layers.on and self._looper.heard:
            self._capture.begin(self._rounds.next - 1)
            undone = "pass"
        elif layers.count:
            if (below := layers.undo()) is not None:
                self._sound.player.move(below.voice.channel)
            self._replay_all(now)
        out.notices.append(notices.Layered(layers.on, layers.count, undone))

    def _replay_all(self, now: float) -> None:
        """Play the layers that there are by now from the next beat or bar on, and the present answer if it plays."""
        if self.transport.state is not State.ROLLING or self.preset.along:
            return
        length = self.preset.length
        tick, start = self._sound.changes_at(now, length, self._unit)
        if self.present is not None and (self._layers.open or self._sound.plays == start):
            self._play(self.present, start, tick)
        else:
            self._sound.rest(length, start, tick, self.knobs["swing"])

    def _make_room(self, target: int) -> None:
        """Lay the present answer down if the one that begins at a tick is laid on it."""
        if self._layers.takes(target, self._sound.player.voice):
            channel = self.preset.channel - 1
            self._sound.player.move(self._layers.free(channel) if self.knobs["spread"] else channel)

    # ---- changing the present answer ------------------------------------------------------------------------------

    def _next_change(self, now: float, after_s: float) -> tuple[int, int] | None:
        """Return the tick from which the present answer can change, and its loop's start; None if it does not play.

        Args:
            now: seconds.
            after_s: how long the change takes, in seconds.
        """
        if self.transport.state is not State.ROLLING or self.present is None:
            return None
        # Of a layer that goes round the next round may have another one on top.
        use: Use = "follow" if self._layers.open else self.use
        return self._sound.next_change(now, after_s, self.preset.length, self._unit, use)

    @property
    def _unit(self) -> int:
        """What changes of the present answer fall on multiples of, in ticks."""
        return self.preset.metre.bar if self.knobs["quantise"] else PPQN

    def _replay(self, now: float) -> None:
        """Play the present answer from the next beat or bar on; not before all of it is there."""
        self._replays = self._answers.begun is not None
        if self._replays or self.preset.along:
            return
        change = self._next_change(now, 0.0)
        if change is not None and self.present is not None:
            self._play(self.present, change[1], change[0])

    def _remake(self, now: float, out: Output, *, seed: bool = False) -> None:
        """Ask for the present answer again with the current parameters; `seed` asks for a different one."""
        job = self._answers.job
        if self.preset.along:
            self._asking.plan_anew(seed=seed)
            return
        if self._answers.remaking(now) and not seed:
            self._turned = True
            return
        self._turned = False
        lead_s = self._pace.remake_s
        change = self._next_change(now, lead_s)
        if job is None:
            return
        if change is not None:
            target, start = change
            while self._answers.expects(target, now):
                target += self._unit  # of two that begin at once the first would be taken for the other
        if change is None or target >= start + self.preset.length:
            if seed and self.use == "answer" and not self._layers.open and self.transport.state is State.ROLLING:
                # It does not sound any more: its call is answered again in the next turn.
                self._asking.given = job.loop
                out.notices.append(notices.AskedAgain(len(job.loop)))
            return
        remade = self._asking.anew(job, target, target - start, self.knobs, self.preset.model, seed=seed)
        if job.mode == self.preset.mode:
            self._answers.ask(Asked(remade, now, lead_s, start), start - 4 * self.preset.length)
            out.jobs.append(remade)

    def _play(self, loop: Loop, start: int, from_tick: int) -> None:
        self._replays = False
        self._sound.play(loop, start, from_tick, self.knobs["swing"])

    # ---- breaks in the song's time --------------------------------------------------------------------------------

    def _break(self, now: float, changes: Breaks, out: Output) -> None:
        for change in changes:
            self._broke(now, change, out)

    def _broke(self, now: float, change: Change, out: Output) -> None:
        was_rolling, self._rolling = self._rolling, change is Change.ROLLED
        out.messages += self._sound.release()
        if (found := self._opening.news()) is not None:
            self._found(found, out)
        if change is Change.STOPPED and self._chosen is None and was_rolling:
            # It may go on at once, as where a sequencer sends Stop, Song Position and Continue each time round.
            self._halt.begin(now)
            out.messages += self._sound.broke(change)
            out.notices.append(notices.Halted("stopped"))
            return
        if change is Change.ROLLED and self._halt.lasts and self.transport.resumed:
            self._go_on_after_stop(now, out)
            return
        self._forget()
        if self._chosen is not None:
            self._switch(now, out)
        out.messages += self._sound.broke(change, anew=now if self.transport.anew else None)
        if change is Change.ROLLED:
            if was_rolling:
                out.notices.append(notices.Halted("located"))
            self._song.rolls()
            out.messages += self._sound.again()
            self._tell_rolling(out)
            if not was_rolling:
                self._along.forget()
            self._enter(self.transport.entry)
            if (first := self._opening.take(self.preset.length)) is not None:
                self._hear_first(now, first, out)
                return
            self._capture.take_back(now, self._rounds.earliest)
        else:
            out.notices.append(notices.Halted(_WHY[change]))

    def _found(self, found: notices.LoopClosed, out: Output) -> None:
        """Take the player's first loop for the length of the loops to come."""
        out.notices.append(found)
        preset = self._chosen or self.preset
        if found.tempo and preset.metre == self.preset.metre and found.bars != preset.bars:
            own = {**self.knobs, "use": self.use} if preset is self.preset else {}
            self._chosen = preset.changed(**own, bars=found.bars)

    def _tell_rolling(self, out: Output) -> None:
        index = self.transport.tick // self.preset.length
        out.notices.append(notices.Rolling(self._rounds.in_song(index), self.preset.bars))

    def _hear_first(self, now: float, first: First, out: Output) -> None:
        """Hand the first loop to the looper as the first call; what was struck with its end belongs to the next."""
        for tick, message in first.call:
            self._capture.feed(tick, message)
        self._advance(now, out)
        for tick, message in first.later:
            self._capture.feed(tick, message)

    def _forget(self) -> None:
        """Drop everything that was planned, and what was captured."""
        self._halt.end()
        if self._asking.given is not None and self._again(self._asking.given):
            self._asking.given = None
        self._opening.forget()
        self._void()
        self._layers.broke(self._sound.player.voice)
        if not self._layers.open:
            self._sound.player.move(self.preset.channel - 1)
        self._looper.cancel()
        self._along.halt()

    def _void(self) -> None:
        """Drop everything that was planned and asked for."""
        self._asking.epoch += 1
        self._answers.cancel()
        self._rounds.awaited = None
        self._sound.clear()

    def _go_on_after_stop(self, now: float, out: Output) -> None:
        """Go on with everything that was planned before a Stop that was none."""
        self._tell_rolling(out)
        for answer in self._halt.end():
            self._take_answer(now, answer, out)

    def _enter(self, tick: int) -> None:
        """Start in the loop that `tick` is in."""
        index = self._rounds.enter(tick)
        self._accompany(tick)
        start = index * self.preset.length
        if self._captures(index):
            self._capture.begin(index)
        if self.preset.along:
            return
        if (self.use == "hold" or self._layers.open) and self.present:
            self._play(self.present, start, tick)
        elif self._layers:
            self._sound.rest(self.preset.length, start, tick, self.knobs["swing"])

    def _accompany(self, tick: int) -> None:
        """Play along from a tick on, or no more, as the preset has it."""
        if self.preset.along:
            self._along.begin(self._asking.epoch, tick)
        else:
            self._along.halt()
            self._along.forget()

    def _rebase(self, out: Output) -> int:
        """Count from the song's start again, as loops of another length need not fit after whole loops of this one.

        Returns:
            By how many ticks everything went back; what was planned is dropped then.
        """
        back = self.transport.rebase()
        if back:
            self._void()
            out.messages += self._sound.release()
        return back

    def _switch(self, now: float, out: Output) -> None:
        """Let the chosen preset take over; answers whose length does not fit its loops are forgotten."""
        assert self._chosen is not None
        preset, self._chosen = self._chosen, None
        if self._layers.open:
            self._layers.lay(self._sound.player.voice)
        if (preset.length, preset.metre) != (self.preset.length, self.preset.metre):
            # So has one that is still to come, and one that *back* would bring back.
            self._answers.clear()
            self._rounds.awaited = None
        self._turned = False
        self.preset, self.use = preset, preset.use
        self.transport.loop, self.transport.metre = preset.length, preset.metre
        self._desk.load(preset.knobs, out)
        self._tune()
        self._sound.player.channel = preset.channel - 1
        if self.clock != "player":
            self.transport.set_tempo(now, preset.tempo)
        out.notices.append(notices.PresetChanged(preset))

    # ---- time passes ----------------------------------------------------------------------------------------------

    def _advance(self, now: float, out: Output) -> tuple[float, float | None]:
        """Do what is due, and return the next dues while rolling."""
        if self.transport.state is not State.ROLLING:
            return inf, None
        due_at, draft_at = self._dues()
        while now >= due_at:
            self._take_turn(now, out)
            due_at, draft_at = self._dues()
        if draft_at is not None and now >= draft_at:
            self._ask_draft(now, out)
            draft_at = None
        awaited = self._rounds.awaited
        if awaited is not None and now >= self._rounds.patience_ends(awaited):
            if self._answers.awaits(awaited):
                self._do_without(awaited, out)
            self._rounds.awaited = None
        if self._tells and now >= self._rounds.tell_at:
            self._tell(now, out)
        if self._along.on and now >= self._along.next_at:
            out.halves += self._along.tell(now, self.preset, self.knobs, self._asking.seed)
        out.messages += self._sound.due(now)
        return due_at, draft_at

    def _wake_at(self, dues: tuple[float, float | None]) -> float | None:
        if self.transport.state is not State.ROLLING:
            return self.transport.deadline
        awaited = self._rounds.awaited
        times = (
            *dues,
            self._rounds.tell_at if self._tells else None,
            self._rounds.patience_ends(awaited) if awaited is not None else None,
            self._along.next_at if self._along.on else None,
            self._sound.next_at(),
            self.transport.deadline,
        )
        return min(time for time in times if time is not None)

    def _dues(self) -> tuple[float, float | None]:
        """Return when to prepare the next loop, in seconds, and when to ask for a draft; see `Rounds`."""
        captures, asks = self._looper.capturing, self._asking.asks(self.preset, heard=self._looper.heard)
        due_at = self._rounds.due_at(captures=captures, asks=asks)
        return due_at, self._rounds.draft_at(due_at, captures=captures, asks=asks)

    @property
    def _tells(self) -> bool:
        """Whether the model is shown the input before it has to answer."""
        return self._looper.capturing and self._asking.tells(self.preset)

    def _tell(self, now: float, out: Output) -> None:
        """Show the model the input so far."""
        self._rounds.told(now)
        complete = self._asking.offered(self.preset) or self._capture.complete()
        out.heard = self._asking.told(complete, self.knobs) or out.heard

    def _ask_draft(self, now: float, out: Output) -> None:
        """Ask for an answer to the input so far: it warms up the model, and plays if the real answer is late."""
        self._rounds.drafted()
        preset = self._chosen or self.preset
        if (preset.length, preset.metre) == (self.preset.length, self.preset.metre):
            start = self._rounds.next * preset.length
            call = self._asking.offered(preset) or self._capture.so_far()
            out.draft = self._asking.draft(call, start, preset, self._knobs_of(preset), self._answers.job)
            self._answers.ask_draft(Asked(out.draft, now, self.lead.seconds, start))

    def _captures(self, index: int) -> bool:
        """Return whether the input in a loop is captured."""
        answered = self.present is not None or bool(self._layers)
        return self._layers.on or is_call(self.use, asked=index == self._rounds.answers_in, answered=answered)

    def _take_turn(self, now: float, out: Output) -> None:
        """End the present loop and prepare the next one, whose index is `_turn_index`."""
        length = self.preset.length
        index, start = self._rounds.advance()
        call = self._capture.take(drums=self.drums)
        if call is not None and (offered := self._asking.offered(self.preset)) is not None:
            call, self._asking.given = offered, None
        if self._chosen is not None:
            along = self.preset.along
            self._switch(now, out)
            if length != self.preset.length:
                # Its loops start elsewhere: end what sounds; the first of its loops may have begun.
                start -= self._rebase(out)
                self._play(Loop(length), start, start)
                self._enter(start)
                self._capture.take_back(now, self._rounds.earliest)
                return
            if along != self.preset.along:
                self._play(Loop(length), start, start)
                self._accompany(start)
            elif along:
                self._along.tune(now, self.knobs, start)
                self._along.unknown()
        if call is not None:
            if asked := self._asking.asks(self.preset, heard=bool(call.notes)):
                out.jobs.append(self._ask(call, start, now))
                self._rounds.awaited, self._rounds.answers_in = start, index
            elif self.use == "follow" and not self._layers.open:
                self._answers.silence()
            if not self._again(call):
                self._asking.memory.hear(call)
            out.notices.append(notices.Called(self._rounds.in_song(index - 1), self.preset.bars, call, asked))
        self._layers.turn(start, self._rounds.awaited == start, self._sound.player.voice)
        if not self._layers.open:
            self._sound.player.move(self.preset.channel - 1)
        if self.preset.along:
            pass  # it goes on by itself, and layers pause
        elif self._layers.open or (self.use != "answer" and self._rounds.awaited != start):
            self._go_on(start)
        elif self._layers:
            self._sound.rest(length, start, start, self.knobs["swing"])
        if self._captures(index):
            self._capture.begin(index)

    def _do_without(self, start: int, out: Output) -> None:
        """Play the draft of a late answer, or go on with what played before."""
        if self._answers.drafted(start) is not None:
            self._make_room(start)
        draft = self._answers.play_draft(start)
        if draft is None:
            self._go_on(start)
        else:
            self._play(draft, start, start)
            index = self._rounds.in_song(start // self.preset.length)
            out.notices.append(notices.DraftPlayed(index, self.preset.bars, draft))

    def _go_on(self, start: int) -> None:
        """Play the present answer once more, until the next one comes."""
        self._play(self.present or Loop(self.preset.length), start, start)

    def _ask(self, call: Loop, target: int, now: float) -> Job:
        job = self._asking.job(call, target, self.preset, self.knobs, self._answers.job)
        draft = self._answers.drafted(target)
        warm = self._pace.is_warm(draft) and draft is not None and draft.job.model == job.model
        # Jobs that are never answered are forgotten some loops later.
        self._answers.ask(Asked(job, now, self.lead.seconds, target, warm), target - 4 * self.preset.length)
        return job

    def _knobs_of(self, preset: Preset) -> Mapping[str, float]:
        return self.knobs if preset is self.preset else preset.knobs

    def _again(self, call: Loop) -> bool:
        """Return whether the present answer is one to this very call."""
        return self._answers.job is not None and self._answers.job.loop is call

    def _take_answer(self, now: float, answer: Answer, out: Output) -> None:
        if answer.part in ("next", "last"):
            self._take_more(now, answer, out)
            return
        if not answer.draft and answer.epoch == self._asking.epoch:
            self._make_room(answer.target)
        take = self._answers.take_draft if answer.draft else self._answers.take
        asked = take(answer.target, answer.loop) if answer.epoch == self._asking.epoch else None
        if asked is None:
            begun = self._answers.begun
            if begun is not None and not answer.draft and begun.asked.job.target == answer.target:
                self._answers.begun = None  # its process has died, and parts of this one are no parts of it
            return
        following = self._chosen or self.preset
        if (asked.job.model, asked.job.mode) == (following.model, following.mode):
            # Otherwise it says nothing about how long the next answer takes.
            self._pace.measured(asked, now)
        present = self._answers.present
        if answer.draft or present is None:
            return
        late = now > self._rounds.patience_ends(answer.target)
        from_tick = answer.target
        soon = self._opening.answered(answer.target)
        if late:
            unit = TICKS_PER_SIXTEENTH if soon else self.preset.metre.bar
            from_tick = rounded_up(self.transport.tick_at(now + self._sound.offset_s + self._sound.ahead_s), unit)
        outcome: Outcome = "late" if late and not soon else "answer"
        if from_tick < asked.start + self.preset.length:
            self._play(present, asked.start, from_tick)
        else:
            outcome = "missed"
        begun = Begun(asked, now - asked.at, outcome)
        if answer.part == "first":
            self._answers.begun = begun
        else:
            self._tell_answer(begun, present, out)
        if self._turned:
            self._remake(now, out)

    def _take_more(self, now: float, answer: Answer, out: Output) -> None:
        """Add a part to the present answer, unless another one took its place since its last part."""
        begun, before = self._answers.begun, self._answers.present
        if begun is None or before is None or begun.asked.job.target != answer.target:
            return
        loop = self._answers.extend(answer.loop)
        self._keeping.extend(begun, loop)
        # Nothing plays after a break in the song's time or a panic, but it can be played again.
        self._sound.extend(before, loop)
        if answer.part == "last":
            self._answers.begun = None
            self._tell_answer(begun, loop, out)
            if self._replays:
                self._replay(now)

    def _tell_answer(self, begun: Begun, loop: Loop, out: Output) -> None:
        index, bars = self._rounds.in_song(begun.asked.start // self.preset.length), self.preset.bars
        out.notices.append(notices.Answered(index, bars, loop, begun.outcome, begun.took_s, begun.asked.lead_s))

    # ---- state, for display ----------------------------------------------------------------------------------------

    @property
    def at(self) -> At:
        """The current activity; if several apply, the latest stage of a note's path, except that waiting wins."""
        if self.transport.state is not State.ROLLING:
            return "idle"
        if self._answers.waiting:
            return "thinking"
        laid = self._layers and self._looper.capturing
        if self._sound.player.next_tick() is not None and (self._along.on or (self.present is not None and not laid)):
            return "answering"
        return "listening" if self._looper.capturing else "idle"

    @property
    def turn(self) -> Turn:
        """Whose turn it is."""
        if self.transport.state is not State.ROLLING:
            return "yours" if self._opening.is_open else "none"
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
    def drums(self) -> bool:
        """Whether the model plays drums, as far as is known."""
        return self._ear.pitched is False

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

    @property
    def bound(self) -> Mapping[str, str]:
        """The control of each parameter and button that has one, in words."""
        return self._desk.bound

    @property
    def stored(self) -> tuple[Loop | None, Loop | None]:
        """The loops A and B, between which a blend would lie now."""
        return self._asking.memory.stored

    def position(self, now: float) -> int | None:
        """Return the tick at `now`; None unless rolling."""
        if self.transport.state is not State.ROLLING:
            return None
        return self.transport.tick_at(now) - self.transport.ahead

    def played(self, now: float) -> tuple[Note, ...]:
        """Return what has been captured of the present loop."""
        return self._looper.notes(self.transport.tick_at(now)) if self.transport.state is not State.STOPPED else ()

    @property
    def moved(self) -> tuple[Moved, ...]:
        """What the hand has moved in the present loop, but for keys."""
        return self._looper.gestures() if self.transport.state is not State.STOPPED else ()

    @property
    def muted(self) -> bool:
        """Whether answers are muted."""
        return self._sound.player.muted

    @property
    def layers(self) -> int:
        """How many layers go round, with the present answer if it is one."""
        return self._layers.count

    @property
    def overdubs(self) -> bool:
        """Whether what is played is laid on them."""
        return self._layers.on

    @property
    def present(self) -> Loop | None:
        """The present answer."""
        return self._answers.present

    def sounds(self, now: float) -> Loop | None:
        """What is heard in the present loop, as far as it is known: the answer, or what is played along."""
        return self._along.loop(now, self.preset) if self._along.on else self.present

    def coming(self, now: float) -> Coming:
        """What is planned to be played along from now on."""
        return self._along.coming(now)
