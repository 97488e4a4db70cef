"""No job pays for what an earlier job left, and no job is at fault when the host runs out of memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guerdon_sandbox import Call, Calls, Job, Limit, Limits, Program, Result, SyncSandbox
from guerdon_sandbox.inside import counters, idling, kills


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup of version 2 with 20 MiB in use and three processes."""
    original = counters.Counter

    def counter(*places: tuple[str, str]) -> counters.Counter:
        return original(*places, root=str(tmp_path))

    monkeypatch.setattr(idling, "Counter", counter)
    monkeypatch.setattr(kills, "Counter", counter)
    # The folder shares its file system with whatever else writes on this machine.
    monkeypatch.setattr(idling.Idle, "_free", lambda _: (1000, 100))
    (tmp_path / "memory.current").write_text(f"{20 << 20}\n")
    (tmp_path / "memory.stat").write_text("anon 5\nactive_file 0\ninactive_file 0\nslab_reclaimable 0\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n")
    (tmp_path / "pids.current").write_text("3\n")
    return tmp_path


def test_an_idle_box_has_no_excess(group: Path) -> None:
    assert idling.Idle(os.fsencode(group)).excess() is None


def test_memory_that_an_ended_job_still_holds_is_excess(group: Path) -> None:
    idle = idling.Idle(os.fsencode(group))
    (group / "memory.current").write_text(f"{400 << 20}\n")
    assert idle.excess() == "memory"


def test_what_the_supervisor_holds_for_the_job_is_not_an_excess(group: Path) -> None:
    idle = idling.Idle(os.fsencode(group))
    (group / "memory.current").write_text(f"{60 << 20}\n")
    assert idle.excess(held_bytes=30 << 20) is None
    assert idle.excess(held_bytes=20 << 20) == "memory"


def test_cached_files_are_not_an_excess(group: Path) -> None:
    idle = idling.Idle(os.fsencode(group))
    (group / "memory.current").write_text(f"{400 << 20}\n")
    (group / "memory.stat").write_text(
        f"active_file {300 << 20}\ninactive_file {50 << 20}\nslab_reclaimable {20 << 20}\n"
    )
    assert idle.excess() is None


def test_processes_that_still_count_are_excess(group: Path) -> None:
    idle = idling.Idle(os.fsencode(group))
    (group / "pids.current").write_text("35\n")
    assert idle.more_processes()
    assert idle.excess() == "processes"


def test_the_free_space_is_that_of_the_work_folder(tmp_path: Path) -> None:
    blocks, files = idling.Idle(os.fsencode(tmp_path))._free()
    status = os.statvfs(tmp_path)
    assert 0 <= blocks <= status.f_blocks
    assert 0 <= files <= status.f_files


@pytest.mark.parametrize(("blocks", "files", "excess"), [(-1, 0, "space"), (0, -1, "files")])
def test_a_work_folder_that_is_not_free_again_is_excess(
    group: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, files: int, excess: str
) -> None:
    free = [(1000, 100)]
    monkeypatch.setattr(idling.Idle, "_free", lambda _: free[0])
    idle = idling.Idle(os.fsencode(group))
    free[0] = (1000 + blocks, 100 + files)
    assert idle.excess() == f"{excess} in the work folder"


def test_without_counters_any_process_may_be_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idling, "Counter", lambda *places: counters.Counter(*places, root=str(tmp_path)))
    monkeypatch.setattr(idling.Idle, "_free", lambda _: (1000, 100))
    idle = idling.Idle(os.fsencode(tmp_path))
    assert idle.more_processes()
    assert idle.excess() is None


def events(group: Path, oom: int, killed: int) -> None:
    (group / "memory.events").write_text(f"max 9\noom {oom}\noom_kill {killed}\n")


def test_a_kill_at_the_boxs_limit_is_the_jobs_fault(group: Path) -> None:
    memory = kills.MemoryKills()
    memory.begin()
    assert not memory.end()
    memory.begin()
    events(group, oom=1, killed=1)
    assert memory.end()
    memory.begin()
    assert not memory.end()


def test_a_kill_below_the_boxs_limit_is_the_hosts_fault(group: Path) -> None:
    memory = kills.MemoryKills()
    memory.begin()
    events(group, oom=0, killed=1)
    with pytest.raises(kills.HostFaultError, match="host is out of memory"):
        memory.end()


def test_a_kill_between_two_jobs_is_not_the_next_jobs(group: Path) -> None:
    memory = kills.MemoryKills()
    memory.begin()
    assert not memory.end()
    events(group, oom=1, killed=1)
    with pytest.raises(kills.HostFaultError, match="between two jobs"):
        memory.begin()


def test_a_kill_by_the_host_after_one_at_the_limit_is_not_the_commands_of_a_session(group: Path) -> None:
    memory = kills.MemoryKills()
    events(group, oom=1, killed=1)
    assert memory.end()
    assert not memory.end()
    events(group, oom=1, killed=2)
    with pytest.raises(kills.HostFaultError, match="host is out of memory"):
        memory.end()


@pytest.mark.parametrize(("peak", "at_limit"), [(512 << 20, True), (200 << 20, False)])
def test_the_first_version_of_cgroups_tells_by_the_peak(group: Path, peak: int, at_limit: bool) -> None:
    (group / "memory.events").unlink()
    folder = group / "memory"
    folder.mkdir()
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    (folder / "memory.max_usage_in_bytes").write_text(f"{peak}\n")
    (folder / "memory.limit_in_bytes").write_text(f"{512 << 20}\n")
    memory = kills.MemoryKills()
    memory.begin()
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    if at_limit:
        assert memory.end()
    else:
        with pytest.raises(kills.HostFaultError):
            memory.end()


FILES_IN_FLIGHT = """
import array, os, socket
fd = os.open("large", os.O_RDWR | os.O_CREAT)
os.write(fd, bytes(30 << 20))
os.unlink("large")
one, two = socket.socketpair()
fds = array.array("i", [fd, one.fileno(), two.fileno()])
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
"""
USES_THE_FOLDER = """
for number in range(2): open(str(number), "wb").write(bytes(31 << 20))
print("done")
"""


@pytest.mark.docker
def test_space_of_files_in_flight_is_free_for_the_next_job(one_box: SyncSandbox) -> None:
    one_box.run(Program(source=FILES_IN_FLIGHT))
    assert one_box.run(Program(source=USES_THE_FOLDER)).stdout == b"done\n"


@pytest.mark.docker
@pytest.mark.parametrize(
    "job",
    [
        Calls(source="def f(): return 'x' * (9 << 20)", calls=[Call("f")] * 2),
        Program(source="", files={"given": bytes(30 << 20)}),
        Program(source="for name in 'ab': open(name, 'wb').write(bytes(12 << 20))", collect=["a", "b"]),
    ],
    ids=["replies", "files", "collected"],
)
def test_a_job_with_megabytes_of_files_or_output_keeps_its_box(
    one_box: SyncSandbox, job: Job[Result]
) -> None:
    one_box.run(Program(source=""))
    before = one_box._sandbox.boxes_started
    for _ in range(2):
        one_box.run(job)
        one_box.run(Program(source=""))
    assert one_box._sandbox.boxes_started == before


USES_MEMORY = """
data = bytearray(200 << 20)
for at in range(0, len(data), 4096): data[at] = 1
print("done")
"""


@pytest.mark.docker
def test_a_job_after_one_that_took_all_memory_has_its_own(one_box: SyncSandbox) -> None:
    crowd = "import os\nfor _ in range(4): os.fork()\ndata = []\nwhile True: data.append(b'x' * (1 << 22))"
    limits = Limits(cpu_s=5, wall_s=10.0)
    assert one_box.run(Program(source=crowd, limits=limits)).limit in (Limit.MEMORY, None)
    assert one_box.run(Program(source=USES_MEMORY, limits=limits)).stdout == b"done\n"
