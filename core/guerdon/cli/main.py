"""``guerdon``: find the command, run it, and turn errors into one line and an exit status.

Exit status: 0 success, 1 a check failed, 2 the user's mistake, 3 an external service or file is missing or down.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from io import TextIOWrapper
from types import FrameType

import click

from guerdon import __version__
from guerdon.cli.usage import usage_line
from guerdon.errors import GuerdonError, PluginContractError
from guerdon.plugins.discovery import Kind, find_plugin, installed_plugins, load_plugin
from guerdon.plugins.spelling import did_you_mean

_COMMANDS = {
    "run": "Run a manifest or a recipe.",
    "check": "Validate a manifest and prove its plan before any training.",
    "plan": "Compute the memory that a manifest's stages take on a GPU, without a GPU.",
    "score": "Score completions in a JSONL or Parquet file.",
    "profile": "Measure how often a model answers each prompt right.",
    "serve": "Score over HTTP: a manifest's rubric or plugins as a server.",
    "diff": "List every verdict that two rubrics, or two scored files, disagree on.",
    "plugins": "List the installed plugins, show one, or test one.",
    "new": "Write an installable, tested plugin project.",
    "audit": "Attack a verifier or a manifest's rubrics with a corpus of exploits.",
    "runs": "List the runs in a folder, with status and last reward.",
    "view": "Show runs in the browser, while they train and after.",
    "report": "Write one HTML page on a run: stages, tables, curves, rollouts.",
    "card": "Write the model card of a model that a run has trained.",
    "schema": "Print the manifest's JSON Schema.",
    "doctor": "List what is installed, what is missing, and the command that fixes it.",
}
"""The core's own commands, each in the module of the same name. Listing them imports none."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted({plugin.name for plugin in installed_plugins(Kind.COMMAND)})]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            command = getattr(import_module(f"guerdon.cli.{cmd_name}"), cmd_name)
        elif any(cmd_name == plugin.name for plugin in installed_plugins(Kind.COMMAND)):
            plugin = find_plugin(cmd_name, [Kind.COMMAND])
            command = load_plugin(plugin)
            if not isinstance(command, click.Command):
                raise PluginContractError(f"{plugin} is a {type(command).__name__}, not a click command.")
        else:
            return None
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            hint = did_you_mean(name, self.list_commands(ctx))
            ctx.fail(f"there is no command '{name}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        plugins = installed_plugins(Kind.COMMAND)
        if plugins:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(p.name, f"From {p.distribution} {p.version}.") for p in plugins])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guerdon")
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where an error was raised.")
@click.pass_context
def cli(ctx: click.Context, show_traceback: bool) -> None:
    """Rewards and verifiers as plugins: score with them, train with them.

    Start with: guerdon run r1-zero-mini
    """
    ctx.obj = show_traceback


def _print_anything() -> None:
    """Escape the characters that the locale's encoding lacks, instead of an error in the middle of a table."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _ending_cleanly() -> Iterator[Sequence[signal.Signals]]:
    """End on SIGTERM and SIGHUP as on Ctrl-C, so that unfinished files are removed and workers are stopped.

    A signal that is ignored, such as SIGHUP under ``nohup``, stays ignored. ``run`` and ``serve`` handle their signals
    themselves.

    Yields:
        The signals that were received.
    """
    received: list[signal.Signals] = []
    owner = os.getpid()

    def stop(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:  # a fork ends without the cleanup of its parent
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(signal.Signals(number))
        raise KeyboardInterrupt

    handled = [
        number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in handled:
        signal.signal(number, stop)
    try:
        yield received
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def main() -> None:
    """Run the console script."""
    _print_anything()
    with _ending_cleanly() as received:
        status = _run(received)
    sys.exit(status)


def _run(received: Sequence[signal.Signals]) -> int:
    """Run the command, print its error, and return the exit status.

    Args:
        received: The signals that have ended the command.
    """
    show_traceback = "--traceback" in sys.argv[1:2]
    try:
        status = cli(prog_name="guerdon", standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = 2
    except click.ClickException as error:
        click.echo(usage_line(error), err=True)
        status = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"Stopped by {received[0].name}." if received else "Interrupted.", err=True)
        status = 128 + (received[0] if received else signal.SIGINT)
    except BrokenPipeError:  # the reader of the output has closed it
        status = 0
        sys.stderr.close()
    except GuerdonError as error:
        if show_traceback:
            traceback.print_exc()
        click.echo(f"{type(error).__name__}: {error}", err=True)
        status = error.exit_code
    except (OSError, metadata.PackageNotFoundError) as error:
        if show_traceback:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            click.echo(f"UsageError: '{error.filename!s:.40}…' is too long for a file's name.", err=True)
            return 2
        click.echo(f"{type(error).__name__}: {error}", err=True)
        status = 3
    return status if isinstance(status, int) else 0
