"""The panel's server: connects browsers (web sockets, aiohttp) to the daemon (OSC).

To the daemon it is an OSC subscriber like any other; it may die and be restarted without affecting the music.

A browser shows its token (if there is one) as `Authorization: Bearer`, and from then on as a cookie. The page finds it
in the fragment of its address, which browsers send to nobody; so the page itself and its scripts, which hold no secret,
are served without it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from errno import EACCES, EADDRINUSE
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from rtgen.errors import UserError
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.panel.access import is_loopback, is_served, urls
from rtgen.rig.kept.presets import numbered
from rtgen.rig.told.osc import PORT as OSC_PORT
from rtgen.rig.told.osc import STATE_VALUES
from rtgen.rig.told.packet import datagram, parse

try:
    from aiohttp import WSCloseCode, WSMsgType, web
except ImportError as error:
    raise UserError(f"the panel needs {error.name}; run pip install 'rtgen[panel]'") from error

_MOMENTS = frozenset({"state/learned", "state/taken", "state/kept"})
"""Momentary news, not part of the state that a page opened later receives."""
_STATIC = Path(__file__).parent / "static"
_RENEW_S = 2.0
_LOST_S = 5.0
_LINES = 60
_MOST_CLIPS = 50
_MOST = 2**13
"""Largest message from a browser, in bytes."""
_MOST_NAME = 255
"""Longest name of a preset from a browser."""
_MOST_NUMBER = 1e6
_MOST_STATE = 512
"""Most addresses whose values are kept."""
_MOST_PAGES = 16
"""Most pages open at a time."""
_MOST_CONNECTIONS = 64
_COOKIE_S = 30 * 86_400
_PUBLIC = frozenset({"page", "static"})
"""Names of the routes that need no token."""
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; form-action 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Sent with every answer: no other page may show this one in a frame, where its buttons could be pressed unawares."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class DaemonLink(asyncio.DatagramProtocol):
    """The connection to the daemon, and its last known state.

    Args:
        changed: called with the changed part of the state: values by address.
        told: called with each line of news.
    """

    def __init__(self, changed: Callable[[dict[str, Any]], None], told: Callable[[str], None]) -> None:
        self.state: dict[str, Any] = {"alive": False}
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._changed, self._told = changed, told
        self._transport: asyncio.DatagramTransport | None = None
        self._heard_at = float("-inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Handles a message of the daemon."""
        del addr
        self._heard_at = asyncio.get_running_loop().time()
        changes: dict[str, Any] = {} if self.state["alive"] else {"alive": True}
        with suppress(ValueError):
            for address, values in parse(data, STATE_VALUES):
                name = address.removeprefix("/rtgen/")
                if name in ("state/news", "error"):
                    self.lines.append(" ".join(map(str, values)))
                    self._told(self.lines[-1])
                elif all(map(_can_be_shown, values)) and (name in self.state or len(self.state) < _MOST_STATE):
                    changes[name] = list(values)
        self._update(changes)

    def error_received(self, exc: Exception) -> None:
        """Ignores that nobody listens on the port; `watch` tries again."""
        del exc

    def send(self, name: str, *values: Any) -> None:
        """Sends a message to the daemon."""
        if self._transport is not None:
            self._transport.sendto(datagram(f"/rtgen/{name}", values))

    async def watch(self) -> None:
        """Renews the subscription, and notices when the daemon stops answering."""
        while True:
            self.send("subscribe")
            if asyncio.get_running_loop().time() - self._heard_at > _LOST_S and self.state["alive"]:
                self._update({"alive": False})
            await asyncio.sleep(_RENEW_S)

    def _update(self, changes: dict[str, Any]) -> None:
        self.state |= {name: value for name, value in changes.items() if name not in _MOMENTS}
        if changes:
            self._changed(changes)


class Panel:
    """The page and its web sockets.

    Args:
        osc_port: the daemon's OSC port on this machine.
        token: the token that a browser needs; None to admit every browser that can reach us.
        host: the address that it is served on.
    """

    def __init__(self, osc_port: int = OSC_PORT, token: str | None = None, host: str = "127.0.0.1") -> None:
        self._osc_port, self._token, self._host = osc_port, token, host
        # Cookies know no ports: each token has a name of its own, so that two panels of one machine get along.
        self._cookie = f"rtgen_{sha256((token or '').encode()).hexdigest()[:8]}"
        self._sockets: set[web.WebSocketResponse] = set()
        self._queues: dict[web.WebSocketResponse, asyncio.Queue[str]] = {}
        self.daemon = DaemonLink(
            lambda changes: self._tell({"state": changes}), lambda line: self._tell({"news": line})
        )

    def application(self) -> web.Application:
        """Returns the aiohttp application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page, name="page")
        app.router.add_post("/enter", self._enter)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/clips", self._clips)
        app.router.add_get("/clips/{name}", self._clip)
        app.router.add_static("/static", _STATIC, name="static")
        app.on_response_prepare.append(_with_headers)
        app.cleanup_ctx.append(self._connected)
        app.on_shutdown.append(self._leave)
        return app

    async def _leave(self, app: web.Application) -> None:
        """Closes the web sockets, as the shutdown would otherwise wait for them."""
        del app
        await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._sockets)))

    async def _connected(self, app: web.Application) -> Any:
        del app
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: self.daemon, remote_addr=("127.0.0.1", self._osc_port)
        )
        watching = asyncio.create_task(self.daemon.watch())
        yield
        watching.cancel()
        transport.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Rejects requests under a name that is not ours, from pages of other sites, and without the token."""
        said = request.headers.get("Host", "")
        if not is_served(said, self._host):
            raise web.HTTPForbidden(text="the panel is not served under this name; open the address that rtgen printed")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != said.lower():
            raise web.HTTPForbidden(text="a page of another site may not use this panel; open the panel's own address")
        if not (request.match_info.route.name in _PUBLIC or self._admits(request)):
            raise web.HTTPForbidden(
                text="the token is missing or wrong; open the full address that 'rtgen panel' printed"
            )
        return await handler(request)

    def _admits(self, request: web.Request) -> bool:
        if self._token is None:
            return True
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = (shown, request.cookies.get(self._cookie, ""))
        return any(hmac.compare_digest(each.encode(errors="replace"), self._token.encode()) for each in given)

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        """Gives a browser that has shown the token a cookie, as its web socket can show nothing else."""
        del request
        self._has_room()
        response = web.Response(status=204)
        if self._token is not None:
            response.set_cookie(self._cookie, self._token, max_age=_COOKIE_S, httponly=True, samesite="Strict")
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    # ---- sockets ----------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        self._has_room()
        socket = web.WebSocketResponse(heartbeat=10, max_msg_size=_MOST)
        await socket.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=256)
        self._sockets.add(socket)
        self._queues[socket] = queue
        queue.put_nowait(json.dumps({"hello": hello(), "state": self.daemon.state, "lines": list(self.daemon.lines)}))
        sending = asyncio.create_task(self._send(socket, queue))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._hear(message.data)
        finally:
            sending.cancel()
            self._sockets.discard(socket)
            del self._queues[socket]
        return socket

    def _has_room(self) -> None:
        if len(self._sockets) >= _MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_PAGES} pages are open, which is the most; close one")

    async def _send(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        with suppress(ConnectionError):
            while True:
                await socket.send_str(await queue.get())

    def _tell(self, what: dict[str, Any]) -> None:
        """Sends to all browsers; disconnects one that does not read, rather than waiting for it."""
        text = json.dumps(what)
        for socket, queue in list(self._queues.items()):
            try:
                queue.put_nowait(text)
            except asyncio.QueueFull:
                _LEAVING.add(task := asyncio.ensure_future(socket.close()))
                task.add_done_callback(_LEAVING.discard)

    def _hear(self, text: str) -> None:
        """Carries out a browser's command; ignores invalid ones."""
        match _parsed(text):
            case {"set": [str(name), int() | float() as value]} if name in PARAMETERS and _is_number(value):
                self.daemon.send(name, float(value))
            case {"press": [str(name)]} if name in BUTTONS:
                self.daemon.send(name)
            case {"preset": str(name)} if len(name) <= _MOST_NAME:
                self.daemon.send("preset", name)
            case {"use": str(use)} if use in USES:
                self.daemon.send("use", use)
            case {"learn": str(name)} if not name or name in PARAMETERS or name in BUTTONS:
                self.daemon.send("learn", name)
            case {"over": True}:
                self.daemon.send("learn/over")

    # ---- clips ------------------------------------------------------------------------------------------------------

    def _folder(self) -> Path | None:
        said = self.daemon.state.get("state/clips")
        return Path(said[0]) if said else None

    async def _clips(self, request: web.Request) -> web.StreamResponse:
        del request
        folder = self._folder()
        found = sorted(folder.glob("*.mid"), reverse=True) if folder and folder.is_dir() else []
        return web.json_response([path.name for path in found if _is_clip(path)][:_MOST_CLIPS])

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        folder, name = self._folder(), request.match_info["name"]
        path = folder / name if folder else None
        # Only a file name, to prevent path traversal.
        if path is None or path.name != name or path.suffix != ".mid" or not _is_clip(path):
            raise web.HTTPNotFound(text="there is no such clip; reload the page")
        return web.FileResponse(path, headers={"Content-Type": "audio/midi", "Content-Disposition": "attachment"})


def _is_clip(path: Path) -> bool:
    """Returns whether a path is a file, and no link, which could lead out of the folder."""
    try:
        return path.is_file() and not path.is_symlink()
    except (OSError, ValueError):  # a name that is too long, or has a zero in it
        return False


def _is_number(value: float) -> bool:
    """Returns whether a browser's number is one: no truth value, infinity or integer that no float holds."""
    return not isinstance(value, bool) and abs(value) < _MOST_NUMBER


def _can_be_shown(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(_HEADERS)


_LEAVING: set[asyncio.Future[Any]] = set()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def hello() -> dict[str, Any]:
    """Returns what a browser needs to build the page: knobs, buttons, presets, uses."""
    return {
        "parameters": [asdict(p) for p in PARAMETERS.values()],
        "buttons": [asdict(b) for b in BUTTONS.values()],
        "presets": [{"name": p.name, "program": p.program, "description": p.description} for p in numbered()],
        "uses": list(USES),
    }


def serve(host: str, port: int, osc_port: int, token: str | None, ready: Callable[[list[str]], None]) -> None:
    """Serves the panel until SIGINT or SIGTERM.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        osc_port: the daemon's OSC port.
        token: the token that browsers need.
        ready: called with the URLs of the page, the likeliest first.

    Raises:
        UserError: the port is in use, or the host is not this machine; or other machines could reach the page, and
            there is no token.
    """
    if not token and not is_loopback(host):
        raise UserError(
            f"on {host} everybody in the network could play your rig; give a token (--token new), or leave out --host"
        )
    application = Panel(osc_port, token, host).application()
    try:
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(application, host, port, lambda: ready(urls(host, port, token))))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if getattr(error, "errno", None) in (EADDRINUSE, EACCES):
            cure = "choose another --port (of 'rtgen run': --panel-port)"
            raise UserError(f"the panel's port {port} is not available ({reason}); {cure}") from error
        raise UserError(
            f"the panel cannot be served on {host} ({reason}); give --host 0.0.0.0 or an address"
        ) from error


async def _serve(application: web.Application, host: str, port: int, ready: Callable[[], None]) -> None:
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    assert runner.server is not None
    server = runner.server
    try:
        listening = await loop.create_server(lambda: _Gate(server), host, port)
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # on Windows, where Ctrl-C raises KeyboardInterrupt
                loop.add_signal_handler(number, ended.set)
        ready()
        await ended.wait()
        listening.close()
    finally:
        await runner.cleanup()


class _Gate(asyncio.Protocol):
    """Hands a new connection to the server, or hangs up if it is one too many.

    Several are accepted at once, so that only when one is made it is known how many there are.
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decides."""
        if len(self._server.connections) >= _MOST_CONNECTIONS:
            transport.close()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)
