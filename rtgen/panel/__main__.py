"""The panel of the daemon that starts it: `python -m rtgen.panel PORT OSC_PORT`, as `rtgen run --panel` does.

It says the address of its page, or a sentence why there is none, and ends when its standard input does: however the
daemon ends, it is not left behind.
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
        port: of the page.
        osc_port: where the daemon listens.
    """
    # Before all that takes long: the model that the player waits for goes first.
    if sys.platform != "win32":
        with suppress(OSError):
            os.nice(_NICE)
    threading.Thread(target=_leave, daemon=True).start()
    try:
        from rtgen.panel.server import serve

        serve("127.0.0.1", port, osc_port, None, lambda url: print(f"panel: {url}", flush=True))
    except UserError as error:
        print(error)
        return 2
    return 0


def _leave() -> None:
    """Ends the process with its input, whatever it is at."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
