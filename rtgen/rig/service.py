"""rtgen as a service of the user: started when they log in, started again when it dies.

A systemd user unit on Linux, a launchd agent on macOS, a scheduled task on Windows.
"""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import platformdirs

from rtgen.errors import UserError

NAME = "rtgen"
_LABEL = "org.rtgen.rtgen"
_PATIENCE_S = 30.0


def command(arguments: Sequence[str]) -> list[str]:
    """What is run: `rtgen run`, waiting for ports that are not there yet, with further arguments."""
    return [sys.executable, "-m", "rtgen", "run", "--wait", *arguments]


def log_file() -> Path:
    """Where the service writes what happens."""
    return platformdirs.user_log_path(NAME, appauthor=False) / "rtgen.log"


@dataclass(frozen=True, slots=True)
class Manager:
    """What starts services on a system.

    Args:
        name: of it.
        program: that speaks with it.
        file: that describes the service.
        start: commands that have it start the service now, and whenever the user logs in.
        stop: that undo it.
        status: that shows how it is.
        logs: that shows what it said; None where that is in `log_file` alone.
    """

    name: str
    program: str
    file: Path
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    logs: tuple[str, ...] | None = None

    def describe(self, arguments: Sequence[str]) -> bytes:
        """The text of the file."""
        run = [*command(arguments), "--log", str(log_file())]
        match self.program:
            case "launchctl":
                return _agent(run)
            case "schtasks":
                return _task(run)
        return _unit(run)


def manager(platform: str = sys.platform) -> Manager:
    """That of a system, by Python's name of its platform."""
    home = Path.home()
    match platform:
        case "darwin":
            file = home / "Library" / "LaunchAgents" / f"{_LABEL}.plist"
            load = ("launchctl", "load", "-w", str(file))
            return Manager(
                "launchd",
                "launchctl",
                file,
                (load,),
                (("launchctl", "unload", "-w", str(file)),),
                ("launchctl", "list", _LABEL),
            )
        case "win32":
            file = platformdirs.user_config_path(NAME, appauthor=False) / "task.xml"
            named = ("/TN", NAME)
            make = ("schtasks", "/Create", "/F", "/XML", str(file), *named)
            return Manager(
                "the task scheduler",
                "schtasks",
                file,
                (make, ("schtasks", "/Run", *named)),
                (("schtasks", "/End", *named), ("schtasks", "/Delete", "/F", *named)),
                ("schtasks", "/Query", "/V", "/FO", "LIST", *named),
            )
    unit = f"{NAME}.service"
    ours = ("systemctl", "--user")
    return Manager(
        "systemd",
        "systemctl",
        platformdirs.user_config_path("systemd", appauthor=False) / "user" / unit,
        ((*ours, "daemon-reload"), (*ours, "enable", "--now", unit)),
        ((*ours, "disable", "--now", unit),),
        (*ours, "--no-pager", "status", unit),
        ("journalctl", "--user", "--no-pager", "--lines", "100", "--unit", unit),
    )


def install(arguments: Sequence[str]) -> str:
    """Writes the file and has the service started; the sentence for the player.

    Raises:
        UserError: the file cannot be written, or nothing starts services here.
    """
    found = manager()
    try:
        found.file.parent.mkdir(parents=True, exist_ok=True)
        log_file().parent.mkdir(parents=True, exist_ok=True)
        found.file.write_bytes(found.describe(arguments))
    except OSError as error:
        raise UserError(f"{found.file} cannot be written ({error.strerror}); check its permissions") from error
    for each in found.start:
        _run(found, each)
    return f"installed as {found.file}, and started; 'rtgen service status' shows how it is"


def uninstall() -> str:
    """Stops the service, and takes its file away; the sentence for the player.

    Raises:
        UserError: it is not installed, or nothing starts services here.
    """
    found = manager()
    if not found.file.exists():
        raise UserError(f"no service is installed ({found.file} is not there)")
    for each in found.stop:
        _run(found, each)
    found.file.unlink()
    return f"stopped, and {found.file} is gone"


def status() -> str:
    """What the system says of the service.

    Raises:
        UserError: it is not installed, or nothing starts services here.
    """
    found = manager()
    if not found.file.exists():
        raise UserError("no service is installed; 'rtgen service install' does it")
    return _run(found, found.status, must=False)


def logs() -> str:
    """What the service said of late.

    Raises:
        UserError: it has said nothing.
    """
    found, file = manager(), log_file()
    if file.is_file():
        return "\n".join(file.read_text("utf-8", errors="replace").splitlines()[-100:])
    if found.logs is None:
        raise UserError(f"the service has said nothing yet ({file} is not there)")
    return _run(found, found.logs, must=False)


def _run(found: Manager, words: tuple[str, ...], *, must: bool = True) -> str:
    if shutil.which(words[0]) is None:
        raise UserError(
            f"{words[0]} is not here, so {found.name} cannot be told; {found.file} describes the service: "
            "have it run by whatever starts programs on this machine"
        )
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"'{' '.join(words)}' does not end; try it by hand") from None
    said = (done.stdout + done.stderr).strip()
    if must and done.returncode:
        first = said.splitlines()[0] if said else f"status {done.returncode}"
        raise UserError(f"{found.name} would not do '{' '.join(words)}' ({first}); the service is in {found.file}")
    return said


# ---- the files ------------------------------------------------------------------------------------------------------


def _unit(run: Sequence[str]) -> bytes:
    """A systemd user unit (systemd.service(5))."""
    return f"""[Unit]
Description=rtgen answers what is played
After=sound.target pipewire.service

[Service]
ExecStart={" ".join(map(_quoted, run))}
Restart=on-failure
RestartSec=2
# Where the user may: the loop in time goes before what is not.
LimitRTPRIO=20
LimitMEMLOCK=infinity

[Install]
WantedBy=default.target
""".encode()


def _quoted(word: str) -> str:
    """A word of a command line as systemd reads it."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if plain != word or not word or any(c.isspace() or c in "';" for c in word) else word


def _agent(run: Sequence[str]) -> bytes:
    """A launchd agent (launchd.plist(5))."""
    return plistlib.dumps(
        {
            "Label": _LABEL,
            "ProgramArguments": list(run),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Interactive",
            "StandardErrorPath": str(log_file().with_suffix(".err")),
        }
    )


def _task(run: Sequence[str]) -> bytes:
    """A task for Windows (Task Scheduler Schema)."""
    arguments = escape(subprocess.list2cmdline(run[1:]))
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>rtgen answers what is played</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>4</Priority>
    <RestartOnFailure><Interval>PT1M</Interval><Count>10</Count></RestartOnFailure>
  </Settings>
  <Actions><Exec><Command>{escape(run[0])}</Command><Arguments>{arguments}</Arguments></Exec></Actions>
</Task>
""".encode("utf-16")
