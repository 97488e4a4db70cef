"""Check on this machine's engine that hostile programs stay in their box and leave nothing in it.

Every attack runs in the one box of a pool, followed by an honest program in the same box. The honest one must get its
own, right result, and find no trace of the attack.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from guerdon_sandbox.engine import BoxOptions
from guerdon_sandbox.errors import SandboxOverloadedError, SandboxUnavailableError
from guerdon_sandbox.jobs import Program
from guerdon_sandbox.limits import Limits
from guerdon_sandbox.pool import Sandbox

LIMITS = Limits(cpu_s=2, wall_s=5.0)

HONEST = """
import glob, os
mine = {str(os.getpid()), "1"}
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid not in mine]
left = [path for path in glob.glob("/box/*") + glob.glob("/box/.*") + glob.glob("/dev/mqueue/*")]
print(len(others), left, sum(range(10)))
"""
HONEST_OUTPUT = b"1 [] 45\n"
"""One other process: the zygote."""

# Each prints ESCAPED if it succeeds.
ATTACKS = {
    "fork bomb": """
import os
while True:
    try: os.fork()
    except OSError: pass
""",
    "memory bomb": """
data = []
while True: data.append(bytearray(1 << 24))
""",
    "memory bomb in many processes": """
import os
for _ in range(20):
    if os.fork() == 0:
        break
data = []
while True:
    data.append(b"x" * (1 << 22))
""",
    "1 GB of output": """
import sys
for _ in range(1024): sys.stdout.write('x' * (1 << 20))
""",
    "output without an end on stderr": """
import sys
while True: sys.stderr.write('x' * 65536)
""",
    "disk fill": """
i = 0
while True:
    open(f'/box/{i}', 'wb').write(b'x' * (1 << 20)); i += 1
""",
    "inode fill": """
i = 0
while True:
    open(f'/box/{i}', 'w').close(); i += 1
""",
    "shared memory fill": """
open('/dev/shm/x', 'wb').write(b'x' * (1 << 26)); print('ESCAPED')
""",
    "thread flood": """
import threading, time
while True: threading.Thread(target=time.sleep, args=(99,)).start()
""",
    "sleep": """
import time
time.sleep(99)
""",
    "children that ignore signals": """
import os, signal, time
for _ in range(5):
    if os.fork() == 0:
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        while True:
            time.sleep(1)
""",
    "daemon": """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            open("/box/alive", "a").write("x")
            time.sleep(0.01)
    os._exit(0)
time.sleep(0.1)
""",
    "signals to everybody": """
import os, signal
for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGINT, signal.SIGTERM):
        try:
            if pid != os.getpid():
                os.kill(pid, number)
                print("ESCAPED", pid)
        except PermissionError:
            pass
""",
    "network": """
import socket
for address in (("169.254.169.254", 80), ("127.0.0.1", 22), ("8.8.8.8", 53)):
    try:
        socket.create_connection(address, 1)
        print("ESCAPED", address)
    except OSError:
        pass
""",
    "writes outside of the work folder": """
import os
for folder in "/ /tmp /var/tmp /run /etc /usr /home /dev /dev/mqueue /dev/pts /sys /proc/1".split():
    try:
        open(f"{folder}/x", "w").write("x")
        print("ESCAPED", folder)
    except OSError:
        pass
""",
    "other processes' memory": """
import os
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("mem", "environ", "maps", "fd", "root", "cwd"):
        path = f"/proc/{pid}/{name}"
        try:
            if int(pid) != os.getpid():
                os.listdir(path) if name in ("fd", "root", "cwd") else open(path, "rb").read(1)
                print("ESCAPED", path)
        except OSError:
            pass
""",
    "becoming root": """
import os
for step in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0), lambda: os.chroot("/box")):
    try:
        step()
        print("ESCAPED")
    except OSError:
        pass
""",
    "forbidden system calls": """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    "unshare": (0x10000000,),
    "setns": (3, 0),
    "mount": (b"none", b"/box", b"tmpfs", 0, 0),
    "ptrace": (0, 0, 0, 0),
    "socket": (2, 1, 0),
    "shmget": (1, 4096, 0o1600),
    "msgget": (1, 0o1600),
    "semget": (1, 1, 0o1600),
    "mq_open": (b"/x", 0o102, 0o600, 0),
}
for name, args in calls.items():
    if getattr(libc, name)(*args) != -1:
        print("ESCAPED", name)
""",
    "links to the host's files": """
import os
os.symlink("/etc", "a")
os.symlink("/", "b")
os.symlink("loop", "loop")
os.mkdir("c")
os.symlink("/proc/1/root", "c/d")
os.chmod("c", 0)
""",
    "folders that forbid removal": """
import os
path = "d"
for _ in range(50):
    os.mkdir(path)
    open(path + "/f", "w").close()
    path += "/d"
for folder, _, _ in list(os.walk("d", topdown=False)):
    os.chmod(folder, 0)
""",
    "tampering with the interpreter": """
import builtins, gc, os, sys
builtins.print = builtins.sum = builtins.len = None
sys.modules.clear()
gc.freeze()
os._exit(0)
""",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one attack."""

    attack: str
    ending: str
    """How its program ended."""
    problem: str | None
    """The effect that it had, if any."""


async def self_check(engines: list[str], options: BoxOptions) -> AsyncIterator[Finding]:
    """Run every attack, each followed by an honest program.

    Args:
        engines: As for `Sandbox`.
        options: As for `Sandbox`.

    Raises:
        SandboxUnavailableError: No engine is usable.
    """
    async with Sandbox(engines, options, boxes=1) as sandbox:
        for name, source in ATTACKS.items():
            yield await _attack(sandbox, name, source)


async def _attack(sandbox: Sandbox, name: str, source: str) -> Finding:
    try:
        hostile = await sandbox.run(Program(source=source, limits=LIMITS))
        ending, escaped = hostile.ending, b"ESCAPED" in hostile.stdout
    except SandboxOverloadedError as error:
        ending, escaped = str(error), False
    except SandboxUnavailableError as error:
        ending, escaped = str(error), True
    honest = await sandbox.run(Program(source=HONEST, limits=LIMITS))
    if escaped:
        return Finding(name, ending, "it got what it must not get")
    if honest.stdout != HONEST_OUTPUT:
        return Finding(name, ending, f"the next job in the box gave {honest.stdout + honest.stderr!r:.200}")
    return Finding(name, ending, None)
