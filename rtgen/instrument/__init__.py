"""What the player plays: pure state machines that are told the time. No ports, threads, files or clocks in here."""
