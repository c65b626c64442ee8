"""Where in the song we are: transports that follow a MIDI clock, an Ableton Link session, or keep their own time."""
