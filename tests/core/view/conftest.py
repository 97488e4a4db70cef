"""A viewer on two runs, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright
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


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """What all pages share: a context costs more than a page."""
    made = browser.new_context()
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves a test's own runs. Its pages are closed before the servers, which live pages keep asking."""
    with ExitStack() as servers:
        yield lambda *folders: servers.enter_context(serving(list(folders), tmp_path / "cache"))


@pytest.fixture
def open_page(context: BrowserContext, address: str, serve: Serve) -> Iterator[Open]:
    """Opens an address; the browser's console must stay empty, and nothing is asked of another host."""
    complaints: list[str] = []
    pages: list[Page] = []

    def check(request: Request, base: str) -> None:
        if not request.url.startswith(base):
            complaints.append(request.url)

    def opened(path: str, width: int = 1200, base: str = address) -> Page:
        page = context.new_page()
        pages.append(page)
        page.set_viewport_size({"width": width, "height": 800})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: check(request, base))
        page.goto(base + path)
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []
