"""rtgen as a service: what is written for each system, checked by its own verifier where there is one."""

from __future__ import annotations

import getpass
import plistlib
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rtgen.errors import UserError
from rtgen.rig import service
from rtgen.rig.kept import config
from rtgen.rig.kept.log import Log

AWKWARD = ("--in", "Keys 49 50%", "--preset", 'a "b" $c', "--name", "it's")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_the_unit_is_one_for_systemd(home: Path) -> None:
    unit = home / "rtgen.service"
    unit.write_bytes(service.manager("linux").describe(AWKWARD))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if "rtgen" in line]
    assert (done.returncode, about_it) == (0, []), done.stderr


def unit_of(home: Path, *, namespaces: bool) -> list[str]:
    return service.manager("linux").describe([], namespaces=namespaces).decode().splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_the_unit_is_rated_below_four(home: Path) -> None:
    unit = home / "rtgen.service"
    unit.write_bytes(service.manager("linux").describe([]))
    command = ["systemd-analyze", "security", "--offline=true", "--user", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for rtgen.service: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze rates no files: {done.stderr.strip()}")
    assert float(found[1]) < 4, done.stdout


@pytest.mark.parametrize("namespaces", [True, False])
def test_the_unit_leaves_midi_audio_and_real_time_alone(home: Path, namespaces: bool) -> None:
    names = {line.partition("=")[0] for line in unit_of(home, namespaces=namespaces)}
    assert names.isdisjoint(
        {
            *("RestrictRealtime", "PrivateDevices", "DeviceAllow", "DevicePolicy", "ProtectClock"),  # ALSA
            *("PrivateTmp", "PrivateIPC", "PrivateNetwork", "IPAddressDeny"),  # JACK, PipeWire, OSC, Link
            *("MemoryDenyWriteExecute", "ProtectHome", "ProcSubset"),  # GPUs; music and presets; /proc/asound
        }
    )
    assert {"LimitRTPRIO", "LimitMEMLOCK", "UMask", "NoNewPrivileges", "SystemCallFilter"} <= names


def test_what_takes_namespaces_is_left_out_where_users_have_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("systemctl", "systemd-run"):
        (home / name).write_text("#!/bin/sh\nexit 1\n" if name == "systemd-run" else "#!/bin/sh\n")
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    service.install([])
    unit = home / "systemd" / "user" / "rtgen.service"
    assert unit.read_text().splitlines() == unit_of(home, namespaces=False)
    (home / "systemd-run").write_text(f'#!/bin/sh\necho "$@" > {home}/tried\n')
    service.install([])
    assert unit.read_text().splitlines() == unit_of(home, namespaces=True)
    assert "-p PrivateUsers=yes -p CapabilityBoundingSet=" in (home / "tried").read_text()
    # What a service that was tried did not have, the unit must not have either.
    extra = set(unit_of(home, namespaces=True)) - set(unit_of(home, namespaces=False))
    assert {line.partition("=")[0] for line in extra} == {
        *("PrivateUsers", "CapabilityBoundingSet", "ProtectSystem", "ProtectControlGroups"),
        *("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables"),
    }


def test_files_are_their_owners_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "systemctl").write_text("#!/bin/sh\n")
    (home / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    log = service.log_file()
    log.parent.mkdir(parents=True)
    log.write_text("an old one\n")
    log.chmod(0o644)
    service.install([])
    assert stat.S_IMODE((home / "systemd" / "user" / "rtgen.service").stat().st_mode) == 0o600
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    fresh = Log(home / "fresh.log")
    fresh.write("a line")
    fresh.close()
    assert stat.S_IMODE((home / "fresh.log").stat().st_mode) == 0o600
    settings = home / "config.yaml"
    settings.touch(mode=0o644)
    config.save(config.Config(inputs=("Keys",)), settings)
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert plistlib.loads(service.manager("darwin").describe([]))["Umask"] == 0o077


@pytest.mark.parametrize("lingers", [True, False])
def test_who_is_not_logged_in_is_told_of_lingering(home: Path, monkeypatch: pytest.MonkeyPatch, lingers: bool) -> None:
    (home / "systemctl").write_text("#!/bin/sh\n")
    (home / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    monkeypatch.setattr(service, "_LINGERING", home)
    if lingers:
        (home / getpass.getuser()).touch()
    assert ("loginctl enable-linger" in service.install([])) is not lingers


def test_the_unit_runs_what_was_said(home: Path) -> None:
    text = service.manager("linux").describe(AWKWARD).decode()
    (line,) = (line for line in text.splitlines() if line.startswith("ExecStart="))
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line.removeprefix("ExecStart="))]
    assert words[:5] == [sys.executable, "-m", "rtgen", "run", "--wait"]
    assert words[5:-2] == list(AWKWARD)
    assert words[-2:] == ["--log", str(service.log_file())]


def test_the_agent_is_a_property_list(home: Path) -> None:
    found = plistlib.loads(service.manager("darwin").describe(AWKWARD))
    assert found["ProgramArguments"][1:-2] == ["-m", "rtgen", "run", "--wait", *AWKWARD]
    assert found["RunAtLoad"] is True


def test_the_task_is_xml_and_quotes_as_windows_does(home: Path) -> None:
    root = ElementTree.fromstring(service.manager("win32").describe(AWKWARD).decode("utf-16").split("?>", 1)[1])
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert root.findtext(f".//{space}Command") == sys.executable
    words = root.findtext(f".//{space}Arguments") or ""
    assert words.startswith("-m rtgen run --wait --in")
    assert '"a \\"b\\" $c"' in words


def test_without_a_service_manager_the_file_is_written_and_the_cure_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(
        UserError, match=r"systemctl was not found, so systemd cannot be used; .*rtgen.service: start it"
    ):
        service.install(["--preset", "shadow"])
    assert b"--preset shadow" in (home / "systemd" / "user" / "rtgen.service").read_bytes()


def test_with_one_it_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = home / "told"
    systemctl = home / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    with pytest.raises(UserError, match="no service is installed"):
        service.status()
    assert "started" in service.install([])
    service.status()
    service.uninstall()
    with pytest.raises(UserError, match="no service is installed"):
        service.uninstall()
    assert told.read_text().splitlines() == [
        "--user daemon-reload",
        "--user enable --now rtgen.service",
        "--user --no-pager status rtgen.service",
        "--user disable --now rtgen.service",
    ]


def test_one_that_refuses_is_quoted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemctl = home / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    with pytest.raises(UserError, match=r"systemd refused .*daemon-reload' \(Failed to connect to bus\)"):
        service.install([])


def test_what_it_said(home: Path) -> None:
    service.log_file().parent.mkdir(parents=True, exist_ok=True)
    service.log_file().write_text("\n".join(f"line {i}" for i in range(300)))
    assert service.logs().splitlines()[0] == "line 200"
