"""Compilers and runtimes do under the list of system calls what their programs need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from guerdon_sandbox import TOOLCHAIN_IMAGE, BoxOptions, Limits, Program, Sandbox, SyncSandbox
from guerdon_sandbox.engine import Engine

pytestmark = pytest.mark.docker

LIMITS = Limits(cpu_s=20, memory_bytes=2 << 30)
GXX = "g++ -O1 -std=c++20 -o main main.cpp && ./main"
GCC = "gcc -O1 -o main main.c && ./main"

# Each prints 4.
PROGRAMS = {
    "threads, futures and locks": (
        "main.cpp",
        GXX,
        """
#include <atomic>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>
#include <vector>
int main() {
    std::atomic<int> sum{0}; std::mutex lock; std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) threads.emplace_back([&] { std::scoped_lock held{lock}; sum++; });
    for (auto& thread : threads) thread.join();
    std::cout << sum + std::async(std::launch::async, [] { return 1; }).get() << std::endl;
}
""",
    ),
    "files, clocks, random numbers and exceptions": (
        "main.cpp",
        GXX,
        """
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <stdexcept>
#include <thread>
int main() {
    std::random_device seed; std::mt19937 random{seed()}; random();
    std::filesystem::create_directory("folder"); std::ofstream("folder/file") << 4;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    int x; std::ifstream("folder/file") >> x;
    for (auto& entry : std::filesystem::directory_iterator("folder")) std::filesystem::remove(entry);
    try { throw std::runtime_error("x"); } catch (const std::exception&) { std::cout << x << std::endl; }
}
""",
    ),
    "a child, a pipe and a signal": (
        "main.c",
        GCC,
        """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int got;
static void handle(int number) { got = number; }
int main(void) {
    int ends[2]; char c = 0;
    signal(SIGUSR1, handle);
    if (pipe(ends)) return 1;
    if (fork() == 0) { if (write(ends[1], "4", 1) != 1) _exit(1); _exit(0); }
    wait(0); raise(SIGUSR1);
    if (read(ends[0], &c, 1) == 1 && got == SIGUSR1) printf("%c\\n", c);
}
""",
    ),
    "memory that is mapped and grows": (
        "main.c",
        GCC,
        """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
    char *data = 0;
    for (size_t size = 1; size <= 64 << 20; size *= 2) { data = realloc(data, size); memset(data, 4, size); }
    printf("%d\\n", data[(64 << 20) - 1]);
    free(data);
}
""",
    ),
    "promises, timers and files": (
        "main.js",
        "node main.js",
        """
const fs = require("fs/promises")
async function main() {
    await fs.writeFile("file", "4")
    await new Promise(done => setTimeout(done, 1))
    await Promise.all([1, 2, 3, 4, 5].map(() => fs.stat("file")))
    console.log(await fs.readFile("file", "utf8"))
}
main()
""",
    ),
    "workers": (
        "main.js",
        "node main.js",
        """
const { Worker, isMainThread, parentPort } = require("worker_threads")
if (isMainThread) new Worker(__filename).on("message", x => console.log(x))
else parentPort.postMessage(4)
""",
    ),
    "children": (
        "main.js",
        "node main.js",
        """console.log(require("child_process").execSync("echo 4").toString().trim())""",
    ),
    "lines of stdin, hashes and big numbers": (
        "main.js",
        "node main.js",
        """
require("crypto").createHash("sha256").update("x").digest("hex")
require("crypto").randomBytes(8)
const lines = require("readline").createInterface({ input: process.stdin })
lines.on("line", line => console.log((BigInt(line) ** 100n % 7n + 2n).toString()))
""",
    ),
    "stdin at once": (
        "main.js",
        "node main.js",
        """console.log(Number(require("fs").readFileSync("/dev/stdin", "utf8")) + 2)""",
    ),
}


@pytest.fixture(scope="module")
def toolchain(docker_engine: None) -> Iterator[SyncSandbox]:
    if not Engine().has_image(TOOLCHAIN_IMAGE):
        pytest.skip(f"no image {TOOLCHAIN_IMAGE}")
    options = BoxOptions(image=TOOLCHAIN_IMAGE, memory_bytes=2 << 30)
    with SyncSandbox(Sandbox(options=options, boxes=1)) as pool:
        yield pool


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_of_the_toolchain_run_under_the_list_of_system_calls(
    toolchain: SyncSandbox, name: str
) -> None:
    file, command, source = PROGRAMS[name]
    files = {file: source.encode()}
    result = toolchain.run(Program(command=["sh", "-c", command], files=files, stdin=b"2\n", limits=LIMITS))
    assert (result.stdout, result.ending) == (b"4\n", "exit 0"), result.stderr


@pytest.mark.parametrize(
    ("file", "command"), [("main.cpp", "g++ main.cpp"), ("main.c", "gcc main.c"), ("main.js", "node main.js")]
)
def test_a_program_that_does_not_compile_ends_with_a_message(
    toolchain: SyncSandbox, file: str, command: str
) -> None:
    job = Program(command=["sh", "-c", command], files={file: b"this is no program"}, limits=LIMITS)
    result = toolchain.run(job)
    assert result.exit_code == 1
    assert file.encode() in result.stderr
