"""rtgen as a user service: started at login, restarted after a crash.

A systemd user unit on Linux, a launchd agent on macOS, a scheduled task on Windows.
"""

from __future__ import annotations

import getpass
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import platformdirs

from rtgen.errors import UserError
from rtgen.whole import written

NAME = "rtgen"
_LABEL = "org.rtgen.rtgen"
_PATIENCE_S = 30.0
_LINGERING = Path("/var/lib/systemd/linger")
"""Holds a file for each user whose services run without a session: loginctl(1)."""
_SANDBOX = """\
# Of what a user may do, a MIDI instrument needs little. Not restricted, as it is needed: real-time scheduling, devices
# (/dev/snd), the temporary folder and shared memory (JACK), the network (OSC, Link), memory that is executed (models on
# GPUs), and the home folder (music, models).
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
KeyringMode=private
ProtectHostname=yes
"""
"""What systemd can do for any user."""
_NAMESPACE = ("PrivateUsers=yes", "CapabilityBoundingSet=")
"""What it can do only where the kernel lets users have namespaces; elsewhere the service would not start."""
_MOUNTS = """\
ProtectSystem=full
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
"""
"""This as well."""


def command(arguments: Sequence[str]) -> list[str]:
    """Returns the service's command line: `rtgen run --wait` and the given arguments."""
    return [sys.executable, "-m", "rtgen", "run", "--wait", *arguments]


def log_file() -> Path:
    """Returns the path of the service's log."""
    return platformdirs.user_log_path(NAME, appauthor=False) / "rtgen.log"


@dataclass(frozen=True, slots=True)
class Manager:
    """The service manager of an operating system.

    Args:
        name: its name.
        program: its command-line program.
        file: the file that describes the service.
        start: commands that start the service now and at every login.
        stop: commands that undo `start`.
        status: command that shows the service's state.
        logs: command that shows the service's output; None if it is only in `log_file`.
    """

    name: str
    program: str
    file: Path
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    status: tuple[str, ...]
    logs: tuple[str, ...] | None = None

    def describe(self, arguments: Sequence[str], *, namespaces: bool = True) -> bytes:
        """Returns the contents of the service file.

        Args:
            arguments: options of `rtgen run`.
            namespaces: whether users may have namespaces (Linux).
        """
        run = [*command(arguments), "--log", str(log_file())]
        match self.program:
            case "launchctl":
                return _agent(run)
            case "schtasks":
                return _task(run)
        return _unit(run, namespaces)


def manager(platform: str = sys.platform) -> Manager:
    """Returns the service manager of a platform, given as in `sys.platform`."""
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
    """Writes the service file and starts the service; returns a sentence for the player.

    Raises:
        UserError: the file cannot be written, or there is no service manager.
    """
    found, log = manager(), log_file()
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            log.chmod(0o600)
    except OSError as error:
        raise UserError(f"{log.parent} cannot be written ({error.strerror}); check its permissions") from error
    with written(found.file, "check its permissions", parents=True, private=True) as partial:
        partial.write_bytes(found.describe(arguments, namespaces=_has_namespaces()))
    for each in found.start:
        _run(found, each)
    said = f"installed as {found.file} and started; 'rtgen service status' shows its state"
    if found.program == "systemctl" and not (_LINGERING / getpass.getuser()).exists():
        said += (
            ". It runs while you are logged in; for a rig where nobody logs in, 'loginctl enable-linger' runs it from "
            "the start of the machine"
        )
    return said


def _has_namespaces() -> bool:
    """Returns whether a service of this user can have a namespace of users: tries it with one that does nothing."""
    if shutil.which("systemd-run") is None:
        return False
    options = [word for each in _NAMESPACE for word in ("-p", each)]
    trial = ["systemd-run", "--user", "--quiet", "--wait", "--collect", *options, sys.executable, "-c", ""]
    try:
        return subprocess.run(trial, capture_output=True, timeout=_PATIENCE_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def uninstall() -> str:
    """Stops the service and removes its file; returns a sentence for the player.

    Raises:
        UserError: the service is not installed, or there is no service manager.
    """
    found = manager()
    if not found.file.exists():
        raise UserError(f"no service is installed ({found.file} does not exist), so there is nothing to remove")
    for each in found.stop:
        _run(found, each)
    found.file.unlink()
    return f"stopped, and {found.file} removed"


def status() -> str:
    """Returns what the service manager reports about the service.

    Raises:
        UserError: the service is not installed, or there is no service manager.
    """
    found = manager()
    if not found.file.exists():
        raise UserError("no service is installed; install it with 'rtgen service install'")
    return _run(found, found.status, must=False)


def logs() -> str:
    """Returns the last 100 lines of the service's log.

    Raises:
        UserError: there is no log yet.
    """
    found, file = manager(), log_file()
    if file.is_file():
        return "\n".join(file.read_text("utf-8", errors="replace").splitlines()[-100:])
    if found.logs is None:
        raise UserError(f"the service has no log yet ({file} does not exist); start it with 'rtgen service install'")
    return _run(found, found.logs, must=False)


def _run(found: Manager, words: tuple[str, ...], *, must: bool = True) -> str:
    if shutil.which(words[0]) is None:
        raise UserError(
            f"{words[0]} was not found, so {found.name} cannot be used; the service is described in {found.file}: "
            "start it with your own service manager"
        )
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"'{' '.join(words)}' did not finish in time; run it by hand") from None
    said = (done.stdout + done.stderr).strip()
    if must and done.returncode:
        first = said.splitlines()[0] if said else f"status {done.returncode}"
        raise UserError(f"{found.name} refused '{' '.join(words)}' ({first}); check the service file {found.file}")
    return said


# ---- the files ------------------------------------------------------------------------------------------------------


def _unit(run: Sequence[str], namespaces: bool) -> bytes:
    """Returns a systemd user unit (systemd.service(5), systemd.exec(5))."""
    more = "\n".join((*_NAMESPACE, _MOUNTS)) if namespaces else ""
    return f"""[Unit]
Description=rtgen: a neural network that answers what you play
After=sound.target pipewire.service

[Service]
ExecStart={" ".join(map(_quoted, run))}
Restart=on-failure
RestartSec=2
# Real-time scheduling for the real-time loop, where the user's limits permit it.
LimitRTPRIO=20
LimitMEMLOCK=infinity
# Logs, clips and settings are for their owner alone.
UMask=0077
{_SANDBOX}{more}
[Install]
WantedBy=default.target
""".encode()


def _quoted(word: str) -> str:
    """Quotes a word of a command line for systemd."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"' if plain != word or not word or any(c.isspace() or c in "';" for c in word) else word


def _agent(run: Sequence[str]) -> bytes:
    """Returns a launchd agent (launchd.plist(5))."""
    return plistlib.dumps(
        {
            "Label": _LABEL,
            "ProgramArguments": list(run),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ProcessType": "Interactive",
            "StandardErrorPath": str(log_file().with_suffix(".err")),
            "Umask": 0o077,
        }
    )


def _task(run: Sequence[str]) -> bytes:
    """Returns a scheduled task for Windows (Task Scheduler schema)."""
    arguments = escape(subprocess.list2cmdline(run[1:]))
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>rtgen: a neural network that answers what you play</Description></RegistrationInfo>
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
