"""The application: addresses, and the answers to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, RedirectResponse

from guerdon.errors import GuerdonError, UsageError
from guerdon.report.templating import environment
from guerdon.view import pages, rollouts
from guerdon.view.addresses import NotFoundError, address
from guerdon.view.guards import HeaderGuard, HostGuard, TokenGuard
from guerdon.view.runs import ViewedRun, Watcher

_FILES = {
    "style.css": ("guerdon.report", "templates/style.css", "text/css"),
    "view.js": ("guerdon.view", "static/view.js", "text/javascript"),
    "icon.svg": ("guerdon.view", "static/icon.svg", "image/svg+xml"),
}
"""The files that pages load, by name: package, place and type."""


def create_app(runs: Mapping[str, ViewedRun], token: str | None = None) -> FastAPI:
    """Return the viewer.

    Args:
        runs: The runs by key.
        token: The token that a browser must bring; without it, only requests for this machine itself are answered.
    """
    watcher = Watcher(runs)

    @asynccontextmanager
    async def watching(_: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        yield
        watcher.stop()

    guards = [Middleware(HeaderGuard)]
    guards.append(Middleware(HostGuard) if token is None else Middleware(TokenGuard, token=token))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=guards, lifespan=watching)
    viewer = _Viewer(runs)
    app.add_exception_handler(GuerdonError, viewer.problem)
    app.add_exception_handler(HTTPException, viewer.problem)
    _add_start(app, viewer)
    _add_rollouts(app, viewer)
    _add_pages(app, viewer)
    return app


class _Viewer:
    """The runs, and the pages that show them."""

    def __init__(self, runs: Mapping[str, ViewedRun]) -> None:
        self.runs = runs
        self._templates = environment("guerdon.view")
        self._templates.filters["zip"] = lambda first, second: zip(first, second, strict=True)

    def page(
        self, name: str, run: ViewedRun | None, context: Mapping[str, Any], status: int = 200
    ) -> Response:
        """Return a page."""
        shared = {
            "runs": list(self.runs.values()),
            "viewed": run,
            "view": "" if name == "overview" else name,
            "version": _version(self.runs),
            "growth": run.growth if run else None,
        }
        text = self._templates.get_template(f"{name}.html").render({**shared, **context})
        # a lone surrogate, which a model's bytes can decode to, has no UTF-8
        content = text.encode("utf-8", "backslashreplace")
        return Response(content, status, media_type="text/html; charset=utf-8")

    def named(self, key: str) -> ViewedRun:
        """Return a run by its key.

        Raises:
            NotFoundError: No run has it.
        """
        if key not in self.runs:
            raise NotFoundError(f"no run '{key}' is viewed.")
        return self.runs[key]

    def problem(self, _: Request, error: Exception) -> Response:
        """Return the page of an error."""
        status = getattr(error, "status_code", 404 if isinstance(error, NotFoundError) else 500)
        status = 400 if isinstance(error, UsageError) and status == 500 else status
        message = str(getattr(error, "detail", error))
        return self.page("problem", None, {"title": f"Error {status}", "message": message}, status)


def _add_start(app: FastAPI, viewer: _Viewer) -> None:
    """Add the list of runs, and the files that pages load."""
    runs, page = viewer.runs, viewer.page

    @app.get("/")
    def start() -> Response:
        """Show the runs, or the only one."""
        if len(runs) == 1:
            return RedirectResponse(address(next(iter(runs.values()))), 303)
        return page("runs", None, pages.list_runs(runs))

    @app.get("/state")
    def state() -> Response:
        """Return a text that changes with the runs, for pages that wait for it."""
        return JSONResponse({"version": _version(runs)})

    @app.get("/favicon.ico")
    def icon() -> Response:
        """Return the icon, which browsers ask for even with plain text."""
        return static("icon.svg")

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        """Return a file that pages load."""
        if name not in _FILES:
            raise NotFoundError(f"there is no file '{name}'.")
        package, place, kind = _FILES[name]
        return Response(resources.files(package).joinpath(place).read_bytes(), media_type=kind)


def _add_rollouts(app: FastAPI, viewer: _Viewer) -> None:
    """Add the addresses of single rollouts, texts and prompts."""
    page, named = viewer.page, viewer.named

    @app.get("/runs/{key}/rollout/{stage}/{line}")
    def rollout(key: str, stage: str, line: int) -> Response:
        """Show one rollout."""
        return page("group", named(key), rollouts.show_rollout(named(key), stage, line))

    @app.get("/runs/{key}/text/{stage}/{line}/{part}")
    def text(key: str, stage: str, line: int, part: str) -> Response:
        """Return all of a text."""
        whole = rollouts.whole_text(named(key), stage, line, part)
        return Response(whole.encode("utf-8", "backslashreplace"), media_type="text/plain; charset=utf-8")

    @app.get("/runs/{key}/prompt/{digest}")
    def prompt(key: str, digest: str) -> Response:
        """Show one prompt over the steps."""
        return page("prompt", named(key), rollouts.show_prompt(named(key), digest))


def _add_pages(app: FastAPI, viewer: _Viewer) -> None:
    """Add the pages of a run. They come after the rollouts' addresses, some of which fit the pages' pattern."""
    runs, page, named = viewer.runs, viewer.page, viewer.named

    @app.get("/runs/{key}/{place}")
    def of_run(key: str, place: str, request: Request) -> Response:
        """Show a page of a run."""
        run, query = named(key), request.query_params
        if place in pages.PAGES_OF_RUNS:
            return page(place, run, pages.PAGES_OF_RUNS[place](run, runs, query))
        if place in pages.PAGES:
            return page(place, run, pages.PAGES[place](run, query))
        raise NotFoundError(f"there is no page '{place}'.")

    @app.get("/runs/{key}/")
    def of_run_itself(key: str) -> Response:
        """Show a run's overview."""
        return page("overview", named(key), pages.show_overview(named(key)))


def _version(runs: Mapping[str, ViewedRun]) -> str:
    return " ".join(run.version for run in runs.values())
