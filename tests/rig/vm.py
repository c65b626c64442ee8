"""A virtual machine with a kernel that has ALSA's sequencer, which sees this machine's files and cannot write to them.

It needs `qemu-system-x86_64`, a static `busybox`, and a kernel of Debian's with its modules: those of this machine, or
those under the folder in `RTGEN_VM_ROOT` (unpacked packages `linux-image-...`, `busybox-static`).
"""

from __future__ import annotations

import gzip
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_MODULES = "virtio_pci", "9pnet_virtio", "9p", "snd-hrtimer", "snd-seq-dummy", "snd-seq"
_INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mkdir -p /proc /sys /dev /mnt
$B mount -t proc none /proc; $B mount -t sysfs none /sys; $B mount -t devtmpfs none /dev
for m in `$B cat /order`; do $B insmod /m/$m || $B echo "vm: no module $m"; done
$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /mnt || $B poweroff -f
$B mount -t proc none /mnt/proc; $B mount -t sysfs none /mnt/sys; $B mount -t devtmpfs none /mnt/dev
$B mount -t tmpfs none /mnt/run; $B mkdir /mnt/dev/shm; $B mount -t tmpfs none /mnt/dev/shm
$B chroot /mnt /bin/sh {script} 2>&1
$B poweroff -f
"""


def _roots() -> list[Path]:
    return [Path(os.environ.get("RTGEN_VM_ROOT", "/")), Path("/")]


def _kernel() -> tuple[Path, Path] | None:
    """Return a kernel and the folder of its modules; None if there is none with a sequencer."""
    for root in _roots():
        for modules in sorted((root / "lib" / "modules").glob("*"), reverse=True):
            kernel = root / "boot" / f"vmlinuz-{modules.name}"
            if kernel.is_file() and any(modules.rglob("snd-seq.ko")):
                return kernel, modules
    return None


def _busybox() -> Path | None:
    found = (root / "bin" / "busybox" for root in _roots())
    return next((path for path in found if path.is_file()), None)


def missing() -> str | None:
    """Return why there can be no virtual machine; None if there can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "the virtual machine is a Linux PC's"
    if shutil.which("qemu-system-x86_64") is None:
        return "no qemu-system-x86_64; on Debian: apt-get install qemu-system-x86"
    if _busybox() is None:
        return "no busybox; on Debian: apt-get install busybox-static"
    if _kernel() is None:
        return "no kernel with uncompressed modules of ALSA's sequencer; on Debian: apt-get install linux-image-amd64"
    return None


def run(script: Path, folder: Path, patience_s: float) -> str:
    """Boot, run a shell script of this machine in it, and return all that was printed.

    Args:
        script: with `/run` and `/dev/shm` as the only places to write to.
        folder: for the first files of the machine.
        patience_s: after so long it is switched off.
    """
    found, busybox = _kernel(), _busybox()
    assert found is not None
    assert busybox is not None
    kernel, modules = found
    there = {path.stem.replace("_", "-"): path for path in modules.rglob("*.ko")}
    order = list(_in_order([name.replace("_", "-") for name in _MODULES if name.replace("_", "-") in there], there))
    files = {
        "init": (_INIT.format(script=script).encode(), 0o755),
        "order": ("\n".join(path.name for path in order).encode(), 0o644),
        "bin/busybox": (busybox.read_bytes(), 0o755),
        **{f"m/{path.name}": (path.read_bytes(), 0o644) for path in order},
    }
    initrd = folder / "initrd.gz"
    initrd.write_bytes(gzip.compress(_archive(files), 1))
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2500", "-smp", "2"]
    command += ["-kernel", str(kernel), "-initrd", str(initrd), "-display", "none", "-serial", "stdio", "-no-reboot"]
    # On a busy machine the emulated timer is late, which the kernel would take for a defect.
    command += ["-append", "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check tsc=reliable"]
    share = "local,path=/,mount_tag=root,security_model=passthrough,readonly=on,multidevs=remap"
    console = folder / "console"
    with console.open("wb") as said:
        machine = subprocess.Popen(
            [*command, "-virtfs", share], stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            machine.wait(patience_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            machine.kill()
            machine.wait()
    return console.read_text(errors="replace")


def _in_order(names: list[str], there: dict[str, Path], done: set[str] | None = None) -> Iterator[Path]:
    """Yield the files of modules, each after those that it depends on."""
    done = set() if done is None else done
    for name in names:
        if name in done or name not in there:
            continue  # it is there, or part of the kernel
        done.add(name)
        data = there[name].read_bytes()
        at = data.index(b"\0depends=") + len(b"\0depends=")
        needs = data[at : data.index(b"\0", at)].decode().replace("_", "-").split(",")
        yield from _in_order([need for need in needs if need], there, done)
        yield there[name]


def _archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Return files with their modes as an archive that the kernel unpacks (cpio, new format, `cpio(5)`)."""
    folders = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."})
    entries = [(name, b"", 0o040755) for name in folders]
    entries += [(name, data, 0o100000 | mode) for name, (data, mode) in files.items()]
    out = b""
    for number, (name, data, mode) in enumerate([*entries, ("TRAILER!!!", b"", 0)], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out
