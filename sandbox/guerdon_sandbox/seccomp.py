"""The system calls that a box may make: what interpreters and compilers need, and nothing that reaches further.

Left out on purpose: sockets other than socketpair (the box has no network anyway), SysV and POSIX message queues and
shared memory (they outlive a job), ptrace and its kin, namespaces, mounts, keyrings, bpf, perf, io_uring, userfaultfd,
and the choice of a CPU (a job could crowd onto a busy one, and be excused as starved).
The measured cost beside the engine's default profile is nil.
"""

from __future__ import annotations

import json

_ALLOWED = {
    "files": (
        "access chdir chmod close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 "
        "fadvise64 fallocate fchdir fchmod fchmodat fcntl fdatasync fgetxattr flistxattr flock fstat "
        "fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch "
        "inotify_init inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr "
        "llistxattr lseek lstat memfd_create mkdir mkdirat newfstatat open openat openat2 pread64 preadv "
        "preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat "
        "renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync_file_range tee truncate "
        "umask unlink unlinkat utime utimensat utimes vmsplice write writev"
    ),
    "pipes and waiting": (
        "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pipe "
        "pipe2 poll ppoll pselect6 select signalfd signalfd4 timerfd_create timerfd_gettime "
        "timerfd_settime"
    ),
    "socketpairs": (
        "getsockname getsockopt recvfrom recvmmsg recvmsg sendmmsg sendmsg sendto shutdown socketpair"
    ),
    "memory": ("brk madvise membarrier mincore mlock mlock2 mmap mprotect mremap msync munlock munmap"),
    "processes and threads": (
        "arch_prctl execve execveat exit exit_group fork futex futex_waitv get_robust_list "
        "get_thread_area getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid "
        "kill pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq sched_get_priority_max "
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
        "clock_getres clock_gettime clock_nanosleep getitimer gettimeofday nanosleep setitimer time "
        "timer_create timer_delete timer_getoverrun timer_gettime timer_settime times"
    ),
    "the machine": ("getcpu getrandom sysinfo uname"),
}

_EPERM = 1
_ENOSYS = 38
_NAMESPACE_FLAGS = 0x7E020000
"""The CLONE_NEW… bits of clone's flags."""


def profile() -> str:
    """The profile in Docker's JSON form."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": _EPERM,
            "syscalls": [
                {"names": " ".join(_ALLOWED.values()).split(), "action": "SCMP_ACT_ALLOW"},
                {
                    "names": ["clone"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [
                        {"index": 0, "value": _NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
                    ],
                },
                # Its flags lie in memory, where a filter cannot look; C libraries fall back to clone on ENOSYS.
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            ],
        }
    )
