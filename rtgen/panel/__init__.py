"""The panel: a web page for a running daemon. One more OSC client, in a process of its own."""
