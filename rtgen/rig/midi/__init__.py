"""MIDI ports of this machine, and the servers behind them."""
