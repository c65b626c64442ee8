"""Who may use the panel: its token, the names it is served under, and this machine's addresses."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from rtgen.errors import UserError

VARIABLE = "RTGEN_PANEL_TOKEN"
"""Environment variable with the token."""
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,64}")
_LONGEST = 1024
_ASKED = ("192.0.2.1", "10.254.254.254", "172.30.254.254", "192.168.254.254")
"""Addresses whose routes show this machine's own; nothing is sent to them."""
_SIOCGIFADDR = 0x8915
"""Asks Linux for the address of an interface: netdevice(7)."""
_MOST_ADDRESSES = 4
_PORTS = 10


def token_of(said: str | None) -> str | None:
    """Returns the token that browsers need, or None if there is none.

    It is never read from the command line, which every user of the machine can see.

    Args:
        said: `new` makes a token, any other word is a file with one; if it is left out, the environment may have one.

    Raises:
        UserError: the file cannot be read, or by others as well; or the token is not one.
    """
    if said == "new":
        return secrets.token_urlsafe(12)
    word = _read(Path(said)) if said else os.environ.get(VARIABLE, "")
    if not (said or word):
        return None
    if not _TOKEN.fullmatch(word):
        raise UserError(
            f"the token in {said or VARIABLE} is not 8 to 64 letters, digits, '-', '.', '_' or '~'; correct it"
        )
    return word


def _read(file: Path) -> str:
    try:
        # A FIFO would be waited for.
        with os.fdopen(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise ValueError("not a file")
            shared = sys.platform != "win32" and mode & 0o077
            word = opened.read(_LONGEST).decode("ascii", errors="replace").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"--token takes 'new' or a file that holds the token, and this is none ({reason}); a token itself does not "
            f"belong in a command line, which others can see: write it to a file, or set {VARIABLE}"
        ) from error
    if shared:
        raise UserError(f"others can read the token in {file}; run 'chmod 600 {file}'")
    return word


def is_loopback(host: str) -> bool:
    """Returns whether an address is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_served(said: str, host: str) -> bool:
    """Returns whether a Host header names a panel that listens on `host`.

    A page of another site can have its own name lead to this machine (DNS rebinding): to the browser the panel is then
    part of that site. Such a name is no address, and not ours.
    """
    try:
        name = (urlsplit(f"//{said}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if is_loopback(host):
        return is_loopback(name)
    own = socket.gethostname().lower().removesuffix(".local")
    if name in (host.lower(), "localhost", own, f"{own}.local"):
        return bool(name)
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def free_port(first: int) -> int:
    """Returns the first port of this machine from `first` on that nobody listens to; `first` if all are taken."""
    for port in range(first, first + _PORTS):
        with socket.socket() as asking:
            if sys.platform != "win32":  # there it would share a port that is taken
                asking.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                asking.bind(("127.0.0.1", port))
                return port
    return first


def urls(host: str, port: int, token: str | None) -> list[str]:
    """Returns the addresses of the page, the likeliest first; the token stands where no server and no log sees it."""
    names = [host]
    if host == "0.0.0.0":
        names = addresses() or [socket.gethostname()]
    elif host == "::":
        names = [socket.gethostname()]
    secret = f"#token={token}" if token else ""
    return [f"http://{f'[{name}]' if ':' in name else name}:{port}/{secret}" for name in names]


def addresses() -> list[str]:
    """Returns the IPv4 addresses of this machine in its networks, that of the default route first."""
    found: list[str] = []
    for other in _ASKED:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, suppress(OSError):
            asking.connect((other, 9))
            found.append(asking.getsockname()[0])
    if sys.platform == "linux":
        found += _of_interfaces()
    else:
        with suppress(OSError):
            found += [str(each[4][0]) for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
    return [each for each in dict.fromkeys(found) if not is_loopback(each)][:_MOST_ADDRESSES]


def _of_interfaces() -> list[str]:
    # A network without a route to anywhere else, such as an access point of the rig's own, is found only here.
    if sys.platform == "win32":
        return []
    import fcntl

    found: list[str] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            with suppress(OSError):
                reply = fcntl.ioctl(asking, _SIOCGIFADDR, name.encode()[:15].ljust(256, b"\0"))
                found.append(socket.inet_ntoa(reply[20:24]))
    return found
