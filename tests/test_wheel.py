"""What a player installs: the wheel, in an empty environment, run from some other folder."""

import os
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from rtgen.music.files import Score, Track, read, write
from rtgen.rig.performance import TEMPO, performance

ROOT = Path(__file__).parents[1]
CONSTRAINTS = str(ROOT / "constraints.txt")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command: str | Path, cwd: Path) -> str:
    # Nothing of this checkout, and nothing of the player's own, may help.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | {"XDG_DATA_HOME": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


PIP = [sys.executable, "-m", "pip"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", "--quiet", "--no-deps", "--build-constraint", CONSTRAINTS, "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("rtgen-*.whl")
    return wheel


@pytest.fixture(scope="module")
def scripts(wheel):
    """The folder with the commands of an environment that holds the wheel and what it asks for."""
    folder = wheel.parent
    venv.create(folder / "env", with_pip=False)
    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = next(scripts.glob("python*"))
    run(*PIP, "--python", python, "install", "--quiet", "--constraint", CONSTRAINTS, wheel, cwd=folder)
    return scripts


def test_brings_its_licence_its_credits_and_its_types(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (message_from_bytes(archive.read(n)) for n in names if n.endswith(".dist-info/METADATA"))
        for name in metadata.get_all("License-File"):
            (inside,) = (n for n in names if n.endswith(f".dist-info/licenses/{name}"))
            assert archive.read(inside) == (ROOT / name).read_bytes()
    assert set(metadata.get_all("License-File")) == {"LICENSE", "NOTICE"}
    assert {"rtgen/py.typed", "train/py.typed"} <= set(names)


def test_renders_a_file_from_another_folder(scripts, tmp_path):
    write(tmp_path / "in.mid", Score((Track("Keys", performance(2)),), ((0, TEMPO),)))
    run(scripts / "rtgen", "render", "in.mid", "out.mid", "--seed", "1", cwd=tmp_path)
    tracks = {track.name: track.notes() for track in read(tmp_path / "out.mid").tracks}
    assert tracks["Keys"]
    assert tracks["rtgen"]


def test_brings_its_models_and_presets(scripts, tmp_path):
    for kind in ("models", "presets"):
        code = f"from rtgen.shipped import available; print(*[p for _, p, _ in available('{kind}')], sep='\\n')"
        paths = run(next(scripts.glob("python*")), "-c", code, cwd=tmp_path).split()
        assert paths, kind
        assert all((Path("rtgen") / "shipped" / kind).as_posix() in Path(p).as_posix() for p in paths)
        assert not [p for p in paths if p.startswith(str(ROOT))]


def test_needs_no_torch(scripts, tmp_path):
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"
    run(next(scripts.glob("python*")), "-c", code, cwd=tmp_path)
