"""The panel as a subprocess of a daemon: `python -m rtgen.panel PORT OSC_PORT [play]`.

It prints the address of its page, or the error. It exits when its standard input ends, so that it never outlives the
daemon. With `play` its pages are keyboard and sound of the daemon, over the same pipes.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from rtgen.errors import UserError
from rtgen.panel.pipe import Pipe

_NICE = 10


def main(port: int, osc_port: int, plays: bool = False) -> int:
    """Serves the panel until standard input ends.

    Args:
        port: the port of the page.
        osc_port: the daemon's OSC port.
        plays: whether the pages are keyboard and sound of the daemon.

    Returns:
        The exit status: 2 if the page cannot be served.
    """
    # Before the slow imports: the model, which the player waits for, takes precedence, except over what is heard.
    if sys.platform != "win32" and not plays:
        with suppress(OSError):
            os.nice(_NICE)
    pipe = Pipe()
    try:
        from rtgen.panel.server import serve

        def ready(urls: list[str]) -> None:
            print(f"panel: {urls[0]}", flush=True)

        serve("127.0.0.1", port, osc_port, None, ready, pipe if plays else None)
    except UserError as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), "play" in sys.argv[3:]))
