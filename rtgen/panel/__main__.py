"""The panel as a subprocess of a daemon: `python -m rtgen.panel PORT OSC_PORT`, started by `rtgen run --panel`.

It prints the address of its page, or the error. It exits when its standard input ends, so that it never outlives the
daemon.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from rtgen.errors import UserError

_NICE = 10


def main(port: int, osc_port: int) -> int:
    """Serves the panel until standard input ends.

    Args:
        port: the port of the page.
        osc_port: the daemon's OSC port.

    Returns:
        The exit status: 2 if the page cannot be served.
    """
    # Before the slow imports: the model, which the player waits for, takes precedence.
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(_NICE)
    threading.Thread(target=_leave, daemon=True).start()
    try:
        from rtgen.panel.server import serve

        serve("127.0.0.1", port, osc_port, None, lambda urls: print(f"panel: {urls[0]}", flush=True))
    except UserError as error:
        print(error)
        return 2
    return 0


def _leave() -> None:
    """Exits the process when its input ends, whatever it is doing."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
