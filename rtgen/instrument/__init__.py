"""The instrument: pure state machines that are given the time, without ports, threads, files or clocks."""
