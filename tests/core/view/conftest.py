"""A viewer on two runs, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from viewed_runs import Open, Serve, serving, write_run

expect.set_options(timeout=60_000)  # CI machines are slow


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "first")
    write_run(folder / "second", seed=7, steps=30, shift=1)
    return folder


@pytest.fixture(scope="session")
def address(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a viewer on two runs."""
    with serving([runs], tmp_path_factory.mktemp("cache")) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for one module. While Playwright runs, its event loop is the thread's, and no other can run there."""
    program = shutil.which("chromium")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("there is no Chromium, and .ci/run installs it")
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@dataclass
class Watched:
    """The page that the tests of a module share, because a page of one's own costs more than what a test does on it."""

    page: Page
    others: list[Page] = field(default_factory=list)
    """Pages beside it."""
    bases: set[str] = field(default_factory=set)
    """The addresses of the viewers that were looked at."""
    complaints: list[str] = field(default_factory=list)
    """What the browser's console said, and requests of another host."""

    def beside(self) -> Page:
        """Open another page."""
        self.others.append(self.page.context.new_page())
        self.watch(self.others[-1])
        return self.others[-1]

    def close_others(self) -> None:
        while self.others:
            self.others.pop().close()

    def leave(self) -> None:
        """Leave the viewer, which live pages keep asking."""
        self.close_others()
        self.page.goto("about:blank")

    def watch(self, page: Page) -> None:
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._check)

    def _check(self, request: Request) -> None:
        if not request.url.startswith((*self.bases, "about:blank")):
            self.complaints.append(request.url)


@pytest.fixture(scope="module")
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context()
    made = Watched(context.new_page())
    made.watch(made.page)
    yield made
    context.close()


@pytest.fixture
def serve(tmp_path: Path, watched: Watched) -> Iterator[Serve]:
    """Serves a test's own runs."""
    with ExitStack() as servers:

        def served(*folders: Path) -> str:
            address = servers.enter_context(serving(list(folders), tmp_path / "cache"))
            servers.callback(watched.leave)
            return address

        yield served


@pytest.fixture
def open_page(watched: Watched, address: str) -> Iterator[Open]:
    """Opens an address; the browser's console must stay empty, and nothing is asked of another host."""
    watched.complaints.clear()

    def opened(path: str, width: int = 1200, base: str = address, beside: bool = False) -> Page:
        """Open an address in the shared page, or in a page beside it."""
        page = watched.beside() if beside else watched.page
        watched.bases.add(base)
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(base + path)
        return page

    yield opened
    watched.close_others()
    assert watched.complaints == []
