"""Timing measurements over real MIDI ports: rtgen, baselines in the same run, and the table."""
