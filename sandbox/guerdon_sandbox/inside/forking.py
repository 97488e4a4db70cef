"""The supervisor's side of a zygote, which forks the processes of jobs.

It runs in the supervisor, and needs the standard library only.
"""

import json
import os
import socket
import struct
from collections.abc import Sequence

from guerdon_sandbox.inside.running import End, Process, Running
from guerdon_sandbox.inside.wire import JobLimits


class JobFaultError(Exception):
    """A job could not be started or watched, so nothing is known of it."""


class Zygote:
    """A zygote and the socket to it."""

    def __init__(self, bootstrap: list[str], *modules: str) -> None:
        """Start a zygote and wait until it is ready.

        Args:
            bootstrap: Its command line, up to the number of its control descriptor.
            modules: Modules that it imports, if the image has them.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.set_inheritable(True)
        self.socket = ours
        self.pid = os.posix_spawn(
            bootstrap[0],
            [*bootstrap, str(theirs.fileno()), *modules],
            dict(os.environ),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            ],
        )
        theirs.close()
        if ours.recv(64) != b"ready":
            raise RuntimeError("the zygote did not start")

    def fork(self, processes: Sequence[Process], limits: JobLimits) -> None:
        """Start processes of a job, and close their descriptors here."""
        given = [fd for process in processes for fd in process.fds]
        told = [
            {"index": one.number, "role": one.role, "uid": one.uid, "fds": one.names} for one in processes
        ]
        self.socket.sendmsg(
            [json.dumps({"processes": told, "limits": limits}).encode()],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(given)}i", *given))],
        )
        for fd in given:
            os.close(fd)

    def note_exit(self, job: Running) -> None:
        """Receive the end of one of a job's processes.

        Raises:
            JobFaultError: The zygote died, or could not prepare the process.
        """
        message = self.socket.recv(4096)
        if not message:
            raise JobFaultError("the zygote died")
        told = json.loads(message)
        if "error" in told:
            raise JobFaultError(f"a process of the job could not be prepared: {told['error']}")
        job.exits[told["index"]] = End(told["status"], told["cpu_s"], told["peak_kib"])
