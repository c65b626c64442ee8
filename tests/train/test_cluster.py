"""On a cluster of two nodes of this machine, of which one is killed in the middle."""

from __future__ import annotations

import csv
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from rtgen.errors import UserError
from tests.train import songs
from tests.train.test_fit import TINY, weights
from tests.train.test_prepare import contents
from train import fit, trainer
from train.__main__ import main
from train.cluster import engine as cluster
from train.cluster import fit as cluster_fit
from train.loops import dataset
from train.loops.storage import Folder
from train.prepare import prepare
from train.prepare.findings import Report
from train.prepare.sources.find import find

pytestmark = pytest.mark.timed(void=False)  # Ray ends a process that cannot keep up
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
NOTICED = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@dataclass
class Nodes:
    """A cluster of two nodes with a core each.

    Args:
        address: of it.
        second: id of the one that `kill` kills.
    """

    address: str
    second: str
    kill: Callable[[], None]


@pytest.fixture(scope="module")
def head() -> Iterator[Any]:
    """The first node."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        # Where all is meant to be there, its absence must not pass for success.
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no ray: pip install 'rtgen[cluster]'")
    own = Cluster(True, head_node_args={**NODE, "include_dashboard": False, "_system_config": NOTICED})
    yield own
    own.shutdown()


@pytest.fixture
def nodes(head: Any) -> Iterator[Nodes]:
    """Both."""
    alive = [head.add_node(**NODE)]
    second = alive[0].node_id

    def kill() -> None:
        while alive:
            head.remove_node(alive.pop(), allow_graceful=False)

    yield Nodes(head.address, second, kill)
    kill()


@pytest.mark.long
def test_a_run_goes_on_from_its_checkpoint_when_a_node_is_lost(
    nodes: Nodes, small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "3")
    lost_at: list[int] = []
    idle: list[float] = []

    def lose(state: trainer.State) -> None:
        import ray

        if not lost_at and (tmp_path / trainer.LAST).exists():
            idle.append(ray.available_resources().get("CPU", 0))
            lost_at.append(state.step)
            nodes.kill()

    state = cluster_fit.fit(TINY, small_data, tmp_path, address=nodes.address, epochs=8, devices=2, progress=lose)
    steps = 8 * -(-len(dataset.load(small_data, "train")) // (2 * TINY.batch))
    assert idle == [0]
    assert 0 < lost_at[0] < steps
    assert state.step == int(fit.load(tmp_path / trainer.LAST).seen) == steps
    assert state.share == 1
    logs = sorted(tmp_path.glob("log/*/metrics.csv"))
    first, again = ([int(row["step"]) for row in csv.DictReader(path.open())] for path in logs)
    assert min(first) < fit.CHECK_AFTER <= min(again)
    assert max(again) >= steps - 10


def work_or_wait(traces: Path, second: str, chunk: prepare.Chunk) -> Report:
    """The real work; but the third chunk that a node begins is never done there, if the node is the second."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    (traces / f"{chunk.part}-{node}").touch()
    if node == second and len(list(traces.glob(f"*-{node}"))) == 3:
        (traces / "waits").write_text(chunk.part)
        time.sleep(600)
    time.sleep(0.1)
    return prepare.work(chunk)


def test_a_dataset_is_the_same_when_a_node_is_lost(nodes: Nodes, tmp_path: Path) -> None:
    found, done = find([songs.folder(tmp_path / "set", 20)]), list[int]()
    prepare.prepare(found, tmp_path / "near")
    traces = tmp_path / "traces"
    traces.mkdir()

    def lose() -> None:
        while not (traces / "waits").exists():
            time.sleep(0.05)
        nodes.kill()

    def engine(work: Any, jobs: Any) -> Any:
        assert work is prepare.work
        return cluster.run(partial(work_or_wait, traces, nodes.second), jobs, address=nodes.address)

    threading.Thread(target=lose, daemon=True).start()
    prepare.prepare(found, tmp_path / "far", progress=done.append, engine=engine)
    assert contents(tmp_path / "far") == contents(tmp_path / "near")
    assert sum(done) == 20
    began = defaultdict(set)
    for trace in traces.glob("*-*.parquet-*"):
        part, _, node = trace.name.rpartition("-")
        began[part].add(node)
    assert len(began) == 20
    assert len(began[(traces / "waits").read_text()]) == 2


def raise_sentence(number: int) -> int:
    raise UserError(f"number {number} is odd")


def test_a_mistake_in_a_worker_is_its_sentence(head: Any, small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="number 3 is odd"):
        list(cluster.run(raise_sentence, [3], address=head.address))
    with pytest.raises(UserError, match="the cluster has only 1 cores for --devices 9 with 1 each; use fewer"):
        cluster_fit.fit(TINY, small_data, tmp_path, address=head.address, devices=9)
    with pytest.raises(UserError, match="none has no dataset of loops"):
        cluster_fit.fit(TINY, tmp_path / "none", tmp_path, address=head.address)


@pytest.mark.long
def test_a_job_that_kills_its_workers_is_a_sentence(head: Any) -> None:
    with pytest.raises(UserError, match="workers died repeatedly"):
        list(cluster.run(os._exit, [3], address=head.address))


@pytest.mark.long
def test_what_no_other_worker_could_do_better_is_not_tried_again(head: Any, small_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no loops of other for 'train'"):
        cluster_fit.fit(replace(TINY, sets={"other": 1.0}, own=False), small_data, tmp_path, address=head.address)


@pytest.mark.long
def test_a_stop_saves_and_the_run_goes_on(head: Any, small_data: Path, tmp_path: Path) -> None:
    def terminate(state: trainer.State) -> None:
        if state.step > 0 and not state.stopped:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stopped = cluster_fit.fit(TINY, small_data, tmp_path, address=head.address, epochs=1000, progress=terminate)
    assert stopped.stopped == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    assert int(fit.load(tmp_path / trainer.LAST).seen) == stopped.step
    assert fit.fit(TINY, small_data, tmp_path, budget_s=stopped.elapsed_s + 0.2, resume=True).step > stopped.step


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--engine", "spark"], "--engine spark is invalid; use local or ray"),
        (["--address", "a:1"], "--address a:1 is for a cluster; add --engine ray"),
        (["--engine", "ray", "--address", "here"], "--address here is invalid; use HOST:PORT"),
        (["--engine", "ray", "--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
    ],
)
@pytest.mark.parametrize("command", ["prepare", "fit"])
def test_an_address_that_cannot_be_used_is_a_sentence(
    command: str,
    options: list[str],
    why: str,
    small_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "ray" in options:
        pytest.importorskip("ray")
    songs.folder(tmp_path / "set", 1)
    what = {
        "prepare": [str(tmp_path / "set"), "--out", str(tmp_path / "data")],
        "fit": ["conv_dae", "--data", str(small_data)],
    }[command]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["rtgen-train", command, *what, *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(why)
    assert told.count("\n") == 1


def test_ray_is_asked_for_only_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    cluster.check("local", None)
    with pytest.raises(UserError, match=r"--engine ray needs Ray; install it with: pip install 'rtgen\[cluster\]'"):
        cluster.check("ray", None)


def test_a_run_lies_wherever_fsspec_reaches(small_data: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for path in small_data.iterdir():
        with fsspec.open(f"memory://music/{path.name}", "wb") as file:
            file.write(path.read_bytes())
    for folder, data in (tmp_path, small_data), ("memory://runs/tiny", "memory://music"):
        with pytest.raises(UserError, match="does not exist"):
            fit.fit(TINY, data, folder, epochs=1, resume=True)
        fit.fit(TINY, data, folder, epochs=1)
        with pytest.raises(UserError, match="exists; continue with --resume"):
            fit.fit(TINY, data, folder, epochs=1)
        fit.fit(TINY, data, folder, epochs=2, resume=True)
    far = fit.load(f"memory://runs/tiny/{trainer.LAST}").net
    assert torch.equal(torch.cat([p.flatten() for p in far.parameters()]), weights(tmp_path))
    assert {trainer.BEST, trainer.LAST, "log"} <= set(Folder("memory://runs/tiny").names())
