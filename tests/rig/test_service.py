"""rtgen as a service: what is written for each system, checked by its own verifier where there is one."""

from __future__ import annotations

import plistlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rtgen.errors import UserError
from rtgen.rig import service

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
