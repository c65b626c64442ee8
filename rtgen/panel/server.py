"""The panel's server: connects browsers (web sockets, aiohttp) to the daemon (OSC).

To the daemon it is an OSC subscriber like any other; it may die and be restarted without affecting the music. With
`rtgen play` its pages are keyboard and sound as well: what they play, and what they are to sound, goes over a pipe to
the daemon (`rtgen.panel.pipe`), as OSC has no times and may lose a note-off.

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
from time import perf_counter
from typing import Any, cast

from rtgen.errors import UserError
from rtgen.instrument.parameters import BUTTONS, FRONT, FRONT_OF_DRUMS, LATENTS, PARAMETERS
from rtgen.instrument.preset import USES
from rtgen.music import files, key
from rtgen.music.attributes import NAMES, REACH, SPAN
from rtgen.music.note import Note
from rtgen.music.time import MAX_TEMPO, MIN_TEMPO
from rtgen.panel.access import is_loopback, is_served, urls
from rtgen.panel.keyboard import SONG, Keyboard
from rtgen.panel.pipe import Pipe
from rtgen.rig.kept.presets import numbered
from rtgen.rig.told.osc import PORT as OSC_PORT
from rtgen.rig.told.osc import STATE_VALUES, flat
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
_MOST_TIME = 1e12
_MOST_STATE = 512
"""Most addresses whose values are kept."""
_MOST_PAGES = 16
"""Most pages open at a time."""
_MOST_CONNECTIONS = 64
_COOKIE_S = 30 * 86_400
_CARD = ("name", "program", "description", "model", "mode", "use", "bars")
"""What the page shows of a preset."""
_TELLING = 4
"""Least pitch classes of a loop whose key is shown."""
_LARGEST_CLIP = 2**16
"""Bytes of the largest clip of which a roll is drawn."""
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
        self._played: list[Any] = []

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
        if "state/played" in changes:
            changes |= self._keyed(changes["state/played"])
        self._update(changes)

    def _keyed(self, played: list[Any]) -> dict[str, Any]:
        """Returns the key of a loop that has ended, as the next has fewer notes; nothing if it does not tell one."""
        before, self._played = self._played, played
        if len(played) >= len(before):
            return {}
        notes = notes_of(before)
        if self.state.get("state/drums", [0])[0]:
            return {"state/key": []}
        # Fewer pitches are of too many keys.
        tells = len({note.pitch % 12 for note in notes}) >= _TELLING and key.confidence(notes) > 0
        return {"state/key": [str(key.estimate(notes))]} if tells else {}

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


def notes_of(flat: list[Any]) -> list[Note]:
    """Returns the notes of a loop as `rtgen.rig.told.osc.flat` gives them, without those that are none."""
    found = []
    for onset, pitch, duration, velocity in zip(flat[1::4], flat[2::4], flat[3::4], flat[4::4], strict=False):
        if all(type(each) is int for each in (onset, pitch, duration, velocity)):
            with suppress(ValueError):
                found.append(Note(onset, pitch, duration, velocity))
    return found


class Panel:
    """The page and its web sockets.

    Args:
        osc_port: the daemon's OSC port on this machine.
        token: the token that a browser needs; None to admit every browser that can reach us.
        host: the address that it is served on.
        pipe: to the daemon whose keyboard and sound the pages are; None if they are neither.
    """

    def __init__(
        self,
        osc_port: int = OSC_PORT,
        token: str | None = None,
        host: str = "127.0.0.1",
        pipe: Pipe | None = None,
    ) -> None:
        self._osc_port, self._token, self._host, self._pipe = osc_port, token, host, pipe
        # Cookies know no ports: each token has a name of its own, so that two panels of one machine get along.
        self._cookie = f"rtgen_{sha256((token or '').encode()).hexdigest()[:8]}"
        self._sockets: set[web.WebSocketResponse] = set()
        self._queues: dict[web.WebSocketResponse, asyncio.Queue[str]] = {}
        # The queues of the pages that sound.
        self._sounding: set[asyncio.Queue[str]] = set()
        # What each clip that was looked at last holds, by name, time and size.
        self._rolls: dict[tuple[str, int, int], list[int]] = {}
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
        if self._pipe is not None:
            self._pipe.listen(loop, self._sound)
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
        first = {"hello": hello() | {"plays": self._pipe is not None}, "state": self.daemon.state}
        queue.put_nowait(json.dumps(first | {"lines": list(self.daemon.lines)}))
        sending = asyncio.create_task(self._send(socket, queue))
        keys = Keyboard(self._pipe.send) if self._pipe is not None else None
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT and not (keys and self._played(message.data, keys, queue)):
                    self._hear(message.data)
        finally:
            if keys is not None:
                keys.let_go(perf_counter())
            sending.cancel()
            self._sockets.discard(socket)
            self._sounding.discard(queue)
            del self._queues[socket]
        return socket

    def _has_room(self) -> None:
        if len(self._sockets) >= _MOST_PAGES:
            raise web.HTTPServiceUnavailable(text=f"{_MOST_PAGES} pages are open, which is the most; close one")

    async def _send(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
        with suppress(ConnectionError):
            while True:
                await socket.send_str(await queue.get())

    def _sound(self, lines: str) -> None:
        """Passes what the daemon has for its output to the pages that sound."""
        text = f'{{"sound":[{",".join(lines.splitlines())}]}}'
        for socket, queue in list(self._queues.items()):
            if queue in self._sounding:
                self._offer(socket, queue, text)

    def _played(self, text: str, keys: Keyboard, queue: asyncio.Queue[str]) -> bool:
        """Carries out what concerns keys and sound; returns whether the message did."""
        now = perf_counter()
        match _parsed(text):
            case {"play": message}:
                keys.play(now, message)
            case {"let_go": True}:
                keys.let_go(now)
            case {"song": str(word)} if word in SONG:
                keys.song(now, word)
            case {"sounds": True}:
                self._sounding.add(queue)
            case {"ping": int() | float() as sent} if _is_time(sent) and not queue.full():
                queue.put_nowait(json.dumps({"pong": [sent, now]}))
            case _:
                return False
        return True

    def _tell(self, what: dict[str, Any]) -> None:
        """Sends to all browsers."""
        text = json.dumps(what)
        for socket, queue in list(self._queues.items()):
            self._offer(socket, queue, text)

    def _offer(self, socket: web.WebSocketResponse, queue: asyncio.Queue[str], text: str) -> None:
        """Sends to a browser; disconnects one that does not read, rather than waiting for it."""
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
            case {"tempo": int() | float() as tempo} if _is_number(tempo) and MIN_TEMPO <= tempo <= MAX_TEMPO:
                self.daemon.send("tempo", float(tempo))

    # ---- clips ------------------------------------------------------------------------------------------------------

    def _folder(self) -> Path | None:
        said = self.daemon.state.get("state/clips")
        return Path(said[0]) if said else None

    async def _clips(self, request: web.Request) -> web.StreamResponse:
        del request
        # Files are read beside the loop: what sounds is on its way through it.
        return web.json_response(await asyncio.to_thread(self._listed))

    def _listed(self) -> list[dict[str, Any]]:
        """Returns the latest clips, the newest first: names, and the notes as `rtgen.rig.told.osc.flat` gives them."""
        folder = self._folder()
        found = sorted(folder.glob("*.mid"), reverse=True) if folder and folder.is_dir() else []
        clips, rolls = [], {}
        for path in [path for path in found if _is_clip(path)][:_MOST_CLIPS]:
            with suppress(OSError):
                about = path.stat()
                known = (path.name, about.st_mtime_ns, about.st_size)
                rolls[known] = self._rolls[known] if known in self._rolls else _roll(path, about.st_size)
                clips.append({"name": path.name, "roll": rolls[known]})
        self._rolls = rolls
        return clips

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


def _roll(path: Path, size: int) -> list[int]:
    """Returns the notes of a clip; nothing of one that is none, or too large to be ours."""
    if size > _LARGEST_CLIP:
        return []
    try:
        score = files.read(path)
    except UserError:
        return []
    notes = sorted((note for track in score.tracks for note in track.notes()), key=lambda note: note.onset)
    bar = score.metres[0][1].bar
    # A last note may be held beyond the end.
    ends = max((max(note.onset + 1, note.end - bar // 2) for note in notes), default=1)
    return list(flat(tuple(notes), -(-ends // bar) * bar))


def _is_number(value: float) -> bool:
    """Returns whether a browser's number is one: no truth value, infinity or integer that no float holds."""
    return not isinstance(value, bool) and abs(value) < _MOST_NUMBER


def _is_time(value: float) -> bool:
    return not isinstance(value, bool) and abs(value) < _MOST_TIME


def _can_be_shown(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


async def _with_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(_HEADERS)
    # After an update no browser may mix old and new scripts.
    response.headers.setdefault("Cache-Control", "no-cache")


_LEAVING: set[asyncio.Future[Any]] = set()


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def hello() -> dict[str, Any]:
    """Returns what a browser needs to build the page: knobs, buttons, presets, uses.

    `reach` says by how much of the map's width a knob moves the answer if it is turned from the middle to the end.
    """
    return {
        "parameters": [asdict(p) for p in PARAMETERS.values()],
        "buttons": [asdict(b) for b in BUTTONS.values()],
        "front": {"pitches": FRONT, "drums": FRONT_OF_DRUMS},
        "presets": [{each: getattr(p, each) for each in _CARD} for p in numbered()],
        "uses": list(USES),
        "reach": {name: SPAN[name] / (2 * REACH) for name in NAMES} | dict.fromkeys(LATENTS, 0.5),
    }


def serve(
    host: str,
    port: int,
    osc_port: int,
    token: str | None,
    ready: Callable[[list[str]], None],
    pipe: Pipe | None = None,
) -> None:
    """Serves the panel until SIGINT or SIGTERM.

    Args:
        host: the address to listen on.
        port: the port to listen on.
        osc_port: the daemon's OSC port.
        token: the token that browsers need.
        ready: called with the URLs of the page, the likeliest first.
        pipe: to the daemon whose keyboard and sound the pages are.

    Raises:
        UserError: the port is in use, or the host is not this machine; or other machines could reach the page, and
            there is no token.
    """
    if not token and not is_loopback(host):
        raise UserError(
            f"on {host} everybody in the network could play your rig; give a token (--token new), or leave out --host"
        )
    application = Panel(osc_port, token, host, pipe).application()
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
