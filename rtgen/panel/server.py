"""The panel's server: connects browsers (web sockets, aiohttp) to the daemon (OSC).

To the daemon it is an OSC subscriber like any other; it may die and be restarted without affecting the music.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from pythonosc.osc_packet import OscPacket, ParseError

from rtgen.errors import UserError
from rtgen.instrument.parameters import BUTTONS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.rig.kept.presets import numbered
from rtgen.rig.told.osc import PORT as OSC_PORT
from rtgen.rig.told.osc import datagram

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
_MOST = 2**16
"""Largest message from a browser, in bytes."""
_COOKIE = "rtgen_token"
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
        with suppress(ParseError, ValueError):
            for timed in OscPacket(data).messages:
                name, values = timed.message.address.removeprefix("/rtgen/"), list(timed.message.params)
                if name in ("state/news", "error"):
                    self.lines.append(str(values[0]))
                    self._told(self.lines[-1])
                else:
                    changes[name] = values
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
    """

    def __init__(self, osc_port: int = OSC_PORT, token: str | None = None) -> None:
        self._osc_port, self._token = osc_port, token
        self._sockets: set[web.WebSocketResponse] = set()
        self._queues: dict[web.WebSocketResponse, asyncio.Queue[str]] = {}
        self.daemon = DaemonLink(
            lambda changes: self._tell({"state": changes}), lambda line: self._tell({"news": line})
        )

    def application(self) -> web.Application:
        """Returns the aiohttp application."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/ws", self._socket)
        app.router.add_get("/clips", self._clips)
        app.router.add_get("/clips/{name}", self._clip)
        app.router.add_static("/static", _STATIC)
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
        """Rejects requests without the token, and those from pages of other sites."""
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            raise web.HTTPForbidden(text="a page of another site may not use this panel; open the panel's own address")
        if self._token is None:
            return await handler(request)
        given = request.query.get("token") or request.cookies.get(_COOKIE) or ""
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPForbidden(
                text="the token is missing or wrong; open the full address that 'rtgen panel' printed"
            )
        response = await handler(request)
        if not response.prepared:
            response.set_cookie(_COOKIE, self._token, httponly=True, samesite="Strict")
        return response

    async def _page(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.FileResponse(_STATIC / "index.html", headers={"Cache-Control": "no-cache"})

    # ---- sockets ----------------------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
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
            case {"set": [str(name), int() | float() as value]} if name in PARAMETERS:
                self.daemon.send(name, float(value))
            case {"press": [str(name)]} if name in BUTTONS:
                self.daemon.send(name)
            case {"preset": str(name)}:
                self.daemon.send("preset", name)
            case {"use": str(use)} if use in USES:
                self.daemon.send("use", use)
            case {"learn": str(name)}:
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
        found = sorted(folder.glob("*.mid"), reverse=True)[:50] if folder and folder.is_dir() else []
        return web.json_response([path.name for path in found])

    async def _clip(self, request: web.Request) -> web.StreamResponse:
        folder, name = self._folder(), request.match_info["name"]
        path = folder / name if folder else None
        # Only a file name, to prevent path traversal.
        if path is None or path.name != name or path.suffix != ".mid" or not path.is_file():
            raise web.HTTPNotFound(text="there is no such clip; reload the page")
        return web.FileResponse(path, headers={"Content-Type": "audio/midi", "Content-Disposition": "attachment"})


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


def serve(host: str, port: int, osc_port: int, token: str | None, ready: Callable[[str], None]) -> None:
    """Serves the panel until SIGINT or SIGTERM.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        osc_port: the daemon's OSC port.
        token: the token that browsers need.
        ready: called with the URL of the page.

    Raises:
        UserError: the port is in use; or other machines could reach the page, and there is no token.
    """
    if not token and not is_loopback(host):
        raise UserError(f"on {host} everybody in the network could play your rig; give a --token, or leave out --host")
    try:
        web.run_app(
            Panel(osc_port, token).application(),
            host=host,
            port=port,
            shutdown_timeout=1.0,
            print=lambda *_: ready(f"http://{host}:{port}/" + (f"?token={token}" if token else "")),
        )
    except OSError as error:
        cure = "choose another --port (of 'rtgen run': --panel-port)"
        raise UserError(f"the panel's port {port} is not available ({error.strerror}); {cure}") from error


def is_loopback(host: str) -> bool:
    """Returns whether an address is reachable only from this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
