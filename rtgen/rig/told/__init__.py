"""What the player is told and can ask: terminal, OSC, web page."""
