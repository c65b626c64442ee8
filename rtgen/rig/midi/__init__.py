"""MIDI ports of this machine, and the MIDI systems that provide them."""
