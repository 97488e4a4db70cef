"""``guerdon new``: write a plugin project.

The templates are working projects of a plugin with the name my_plugin, which is replaced.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import tempfile
from pathlib import Path

import click

from guerdon import __version__
from guerdon.cli.usage import KindChoice
from guerdon.errors import InfrastructureError, UsageError
from guerdon.plugins.discovery import SCORERS, Kind, installed_plugins

TEMPLATES = Path(__file__).parent / "templates"

_KINDS = (*SCORERS, Kind.SOURCE, Kind.STAGE, Kind.HOOKS, Kind.TOOL, Kind.ENVIRONMENT)


@click.command(
    help="Write an installable, tested plugin project to the new folder guerdon-NAME.\n\n"
    f"KIND is one of {', '.join(kind.value for kind in _KINDS)}."
)
@click.argument("kind", metavar="KIND", type=KindChoice(_KINDS))
@click.argument("name")
def new(kind: str, name: str) -> None:
    chosen = Kind(kind)
    _check_name(chosen, name)
    folder = Path(f"guerdon-{name.replace('_', '-')}")
    if folder.exists():
        raise UsageError(f"{folder} exists already. Choose another name, or another folder to work in.")
    try:
        with tempfile.TemporaryDirectory(dir=".", prefix=f".{folder}.") as partial:
            written = Path(partial, folder)
            _write(chosen, name, written)
            written.rename(folder)
    except OSError as error:
        raise InfrastructureError(f"{folder} cannot be written: {error.strerror}.") from None
    click.echo(
        f"{folder}: the {chosen.noun} '{name}', with its tests. Next:\n"
        f"  pip install -e ./{folder}\n"
        f"  pytest {folder}"
    )


_MAX_NAME = 64


def _check_name(kind: Kind, name: str) -> None:
    if len(name) > _MAX_NAME:
        raise UsageError(
            f"'{name[:20]}…' has {len(name)} characters. A plugin's name has at most {_MAX_NAME}."
        )
    if keyword.iskeyword(name):
        raise UsageError(
            f"'{name}' is a keyword of Python, and a plugin's package has its name. Choose another name."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        usable = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        hint = f" Did you mean '{usable}'?" if usable and not keyword.iskeyword(usable) else ""
        raise UsageError(
            f"'{name}' cannot be a plugin's name: use small letters, digits and underscores, a letter first.{hint}"
        )
    for plugin in installed_plugins(*(SCORERS if kind in SCORERS else [kind])):
        if plugin.name == name:
            raise UsageError(
                f"{plugin} is installed already, and two of one name must be distinguished in every manifest. "
                "Choose another name."
            )
    module = f"guerdon_{name}"
    if importlib.util.find_spec(module) is not None:
        raise UsageError(
            f"the project's module would be '{module}', which exists already. Choose another name."
        )


def _write(kind: Kind, name: str, folder: Path) -> None:
    for part in ("common", kind.value):
        shutil.copytree(
            TEMPLATES / part,
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", ".*_cache"),
        )
    words = {
        "my_plugin": name,
        "my-plugin": name.replace("_", "-"),
        "MyPlugin": "".join(part.capitalize() for part in name.split("_")),
        "PLUGIN_GROUP": kind.group,
        "PLUGIN_NOUN": kind.noun.capitalize(),
        "guerdon>=0.0.0": f"guerdon>={__version__}",
    }
    for path in sorted(folder.rglob("*"), reverse=True):  # the content of a folder before the folder
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            for word, replacement in words.items():
                text = text.replace(word, replacement)
            path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(path.name.replace("my_plugin", name)))
