"""The kinds of clocks, by the names that options have for them."""

from __future__ import annotations

from collections.abc import Mapping

from rtgen.instrument.clocks.internal_clock import InternalClock
from rtgen.instrument.clocks.link_clock import LinkClock
from rtgen.instrument.clocks.midi_clock import MidiClock
from rtgen.instrument.clocks.player_clock import PlayerClock
from rtgen.instrument.clocks.transport import Transport
from rtgen.instrument.options import ClockKind, Options
from rtgen.instrument.preset import Preset

_KINDS: Mapping[ClockKind, type[Transport]] = {
    "midi": MidiClock,
    "internal": InternalClock,
    "link": LinkClock,
    "player": PlayerClock,
}


def transport_of(options: Options, preset: Preset) -> Transport:
    """Return the transport that a session begins with."""
    transport = _KINDS[options.clock](preset.tempo)
    transport.offset_s = options.clock_offset_s
    transport.loop, transport.metre = preset.length, preset.metre
    if isinstance(transport, PlayerClock):
        transport.look_for(options.slowest, options.fastest, options.pause_s)
    return transport
