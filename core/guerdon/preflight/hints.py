r"""Check that prompts ask for what a verifier reads, such as ``\boxed{}``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guerdon.errors import PluginContractError
from guerdon.manifest.entries import STAGE_PREFIX
from guerdon.manifest.plan import Plan, StagePlan
from guerdon.models.paths import local_folder
from guerdon.plugins.boundary import boundary
from guerdon.plugins.discovery import Kind
from guerdon.preflight.findings import Finding, Level, Site
from guerdon.rubric import Entry
from guerdon.types import Row, message_text

_TEMPLATES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
"""The files in which a model's folder may have its chat template."""


def check_hints(site: Site, stage: StagePlan, entry: Entry, rows: Sequence[Row]) -> Iterator[Finding]:
    """Warn of prompts that do not mention what the verifier's ``prompt_hint`` names.

    The stage's params and the chat template of a local model may ask for it too. A model that another stage trained may
    know the form, so its prompts are not checked.

    Args:
        site: The entry's site.
        stage: The entry's stage.
        entry: The entry.
        rows: Sampled rows that it judges.
    """
    if entry.component.kind is not Kind.VERIFIER or _begins_trained(stage):
        return
    hint = entry.component.member("prompt_hint", of=entry.component.build())
    if hint is None:
        return
    around = _folded(" ".join([*_texts(stage.ref.params), *_model_templates(site.plan, stage)]))
    lacking = []
    for number, row in enumerate(rows):
        prompt = _folded(message_text(row.get("prompt", "")))
        for what, texts in _checked(hint, entry, row).items():
            if not any(_folded(text) in prompt or _folded(text) in around for text in texts):
                lacking.append((number, what))
                break
    if lacking:
        number, what = lacking[0]
        shown = " ".join(message_text(rows[number].get("prompt", "")).split())
        yield site.finding(
            Level.WARNING,
            f"{len(lacking)} of {len(rows)} sampled prompts do not mention what it looks for. Row {number} lacks "
            f"{what}: {shown[:80]!r}. Ask for it in the prompt, with the source's 'template' or 'system', or in the "
            "chat template.",
        )


def _begins_trained(stage: StagePlan) -> bool:
    inits = stage.ref.init if isinstance(stage.ref.init, list) else [stage.ref.init]
    return any(isinstance(one, str) and one.startswith(STAGE_PREFIX) for one in inits)


def _checked(hint: Any, entry: Entry, row: Row) -> Mapping[str, Sequence[str]]:
    """Return what a row's prompt must mention.

    Raises:
        PluginContractError: The plugin's method raises, or returns something else.
    """
    plugin = entry.component.plugin
    with boundary(f"the prompt_hint of {plugin} raised"):
        found = hint(row)
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(
        isinstance(what, str)
        and isinstance(texts, list | tuple)
        and texts
        and all(isinstance(text, str) for text in texts)
        for what, texts in found.items()
    ):
        raise PluginContractError(
            f"the prompt_hint of {plugin} returns {found!r:.60}. Return a mapping of what a prompt must mention to the "
            "texts of which it must have one: {'\\\\boxed{}': ['boxed']}."
        )
    return found


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a param's value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _model_templates(plan: Plan, stage: StagePlan) -> Iterator[str]:
    """Yield the files with chat templates of the stage's local models."""
    base_dir = plan.file.path.resolve().parent
    inits = stage.ref.init if isinstance(stage.ref.init, list) else [stage.ref.init]
    for one in inits:
        model = plan.manifest.model if one == "base" else one
        path = model if isinstance(model, str) else getattr(model, "path", None)
        folder = local_folder(base_dir, path) if path and path != "none" else None
        for name in _TEMPLATES if folder is not None else ():
            file = folder / name  # type: ignore[operator]
            if file.is_file():
                yield file.read_text(encoding="utf-8", errors="replace").replace("\\n", " ")


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
