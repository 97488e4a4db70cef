"""The system calls that a box may make: those that interpreters and compilers need, and no more.

Left out on purpose: sockets other than pairs of AF_UNIX (the box has no network anyway), SysV and POSIX message queues
and shared memory (they outlive a job), ptrace and similar calls, namespaces, mounts, keyrings, bpf, perf, io_uring,
userfaultfd, splice and tee, POSIX timers, pidfds, inotify, and the choice of a CPU (a job could move to a busy one, and
count as starved). If an argument makes a call dangerous, the filter checks the argument. There is no measurable cost
compared with the engine's default profile.
"""

from __future__ import annotations

import json
from typing import Any

_ALLOWED = {
    "files": (
        "access chdir chmod close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
        "fadvise64 fallocate fchdir fchmod fchmodat fcntl fdatasync fgetxattr flistxattr flock fstat "
        "fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr "
        "lchown lgetxattr link linkat listxattr "
        "llistxattr lseek lstat memfd_create mkdir mkdirat newfstatat open openat openat2 pread64 preadv "
        "preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat "
        "renameat2 rmdir sendfile stat statfs statx symlink symlinkat sync_file_range truncate "
        "umask unlink unlinkat utime utimensat utimes write writev"
    ),
    "pipes and waiting": (
        "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pipe "
        "pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime "
        "timerfd_settime"
    ),
    "socketpairs": "getsockname getsockopt shutdown",
    "memory": ("brk madvise membarrier mincore mlock mlock2 mmap mprotect mremap msync munlock munmap"),
    "processes and threads": (
        "arch_prctl execve execveat exit exit_group fork futex futex_waitv get_robust_list "
        "get_thread_area getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid "
        "kill prlimit64 restart_syscall rseq sched_get_priority_max "
        "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
        "sched_rr_get_interval sched_yield set_robust_list set_thread_area "
        "set_tid_address setpgid setpriority setrlimit setsid tgkill tkill vfork wait4 waitid"
    ),
    "users": (
        "capget capset getegid geteuid getgid getgroups getresgid getresuid getuid setgid setgroups "
        "setregid setresgid setresuid setreuid setuid"
    ),
    "signals": (
        "alarm pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
        "rt_sigtimedwait rt_tgsigqueueinfo sigaltstack"
    ),
    "time": (
        "clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time times"
    ),
    "the machine": ("getcpu getrandom sysinfo uname"),
}

_EPERM = 1
_ENOSYS = 38
_AF_UNIX = 1
_MSG_OOB = 1
_CLONE_REFUSED = 0x7E020000 | 0x8000 | 0x1000
"""New namespaces; CLONE_PARENT, which makes a child of the zygote; CLONE_PIDFD."""
_IOCTLS = {
    "TCGETS": 0x5401,
    "TIOCGPGRP": 0x540F,
    "TIOCGWINSZ": 0x5413,
    "FIONREAD": 0x541B,
    "FIONBIO": 0x5421,
    "FIONCLEX": 0x5450,
    "FIOCLEX": 0x5451,
    "FICLONE": 0x40049409,
}
"""Calls that query whether a file is a terminal, its size, and its mode; `cp` tries FICLONE first."""
_PRCTLS = {
    "PR_SET_PDEATHSIG": 1,
    "PR_GET_PDEATHSIG": 2,
    "PR_GET_DUMPABLE": 3,
    "PR_SET_DUMPABLE": 4,
    "PR_SET_NAME": 15,
    "PR_GET_NAME": 16,
    "PR_CAPBSET_READ": 23,
    "PR_SET_NO_NEW_PRIVS": 38,
    "PR_GET_NO_NEW_PRIVS": 39,
    "PR_SET_VMA": 0x53564D41,
}
"""A thread's name may be any bytes, also through ``/proc/self/comm``; the supervisor handles them."""


def _equal(index: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def _without(index: int, bits: int) -> dict[str, Any]:
    return {"index": index, "value": bits, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}


def _allow(name: str, *args: dict[str, Any]) -> dict[str, Any]:
    return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": list(args)}


def profile() -> str:
    """Return the profile in Docker's JSON form."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": _EPERM,
            "syscalls": [
                {"names": " ".join(_ALLOWED.values()).split(), "action": "SCMP_ACT_ALLOW"},
                _allow("clone", _without(0, _CLONE_REFUSED)),
                _allow("socketpair", _equal(0, _AF_UNIX)),
                _allow("sendmsg", _without(2, _MSG_OOB)),
                _allow("recvmsg", _without(2, _MSG_OOB)),
                _allow("sendto", _without(3, _MSG_OOB)),
                _allow("recvfrom", _without(3, _MSG_OOB)),
                *(_allow("ioctl", _equal(1, request)) for request in _IOCTLS.values()),
                *(_allow("prctl", _equal(0, option)) for option in _PRCTLS.values()),
                # Its flags are in memory, which a filter cannot read; C libraries fall back to clone on ENOSYS.
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            ],
        }
    )
