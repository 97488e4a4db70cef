"""``guerdon plan``."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click
from rich.console import Console

from guerdon.cli.tables import print_rows
from guerdon.cli.targets import FiniteRange, manifest_argument, manifest_path, set_option
from guerdon.errors import CheckFailedError, UsageError

GIB = 1024**3


@click.command()
@manifest_argument
@set_option
@click.option(
    "--gpu-memory",
    type=FiniteRange(min=0, min_open=True),
    default=80,
    show_default=True,
    metavar="GIB",
    help="The memory of each GPU in GiB.",
)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="The length of each prompt in tokens, for stages that sample.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="The processes of the launch, with one GPU each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print bytes as one JSON object.")
def plan(
    manifest: str,
    overrides: tuple[str, ...],
    gpu_memory: float,
    prompt_tokens: int,
    processes: int,
    as_json: bool,
) -> None:
    """Compute the memory that the stages of a manifest take on a GPU, without a GPU.

    Every completion and every row has the longest length. Status 1 if a stage takes more than the GPU has.
    """
    from guerdon.manifest import plan_run, read_manifest
    from guerdon.run.memory import has_memory_plan, stage_memory

    planned = plan_run(read_manifest(manifest_path(manifest), overrides))
    stages = [stage for stage in planned.stages if has_memory_plan(stage)]
    if not stages:
        raise UsageError(
            f"{planned.file.path}: no stage computes its memory. The built-in 'grpo', 'sft', 'dpo', 'distill', "
            "'reward_model' and 'process_reward_model' do."
        )
    with Console(stderr=True).status("Computing…"):
        computed = {
            stage.ref.id: stage_memory(
                planned,
                stage,
                prompt_tokens=prompt_tokens,
                device_bytes=int(gpu_memory * GIB),
                processes=processes,
            )
            for stage in stages
        }
    if as_json:
        click.echo(json.dumps(computed))
    else:
        for stage_id, moments in computed.items():
            print_rows(f"Stage '{stage_id}', GiB on each GPU", _table(moments), Console())
        others = [stage.ref.id for stage in planned.stages if stage not in stages]
        if others:
            click.echo(f"Not computed: {', '.join(others)}.")
    _check(computed, gpu_memory)


def _table(moments: Mapping[str, Mapping[str, int]]) -> list[dict[str, str]]:
    parts = list(dict.fromkeys(part for parts in moments.values() for part in parts))
    rows = [
        {"part": part, **{moment: _gib(parts.get(part, 0)) for moment, parts in moments.items()}}
        for part in parts
    ]
    return [
        *rows,
        {"part": "all", **{moment: _gib(sum(parts.values())) for moment, parts in moments.items()}},
    ]


def _gib(count: int) -> str:
    return f"{count / GIB:.2f}" if count else ""


def _check(computed: Mapping[str, Mapping[str, Mapping[str, int]]], gpu_memory: float) -> None:
    """Raise if a stage takes more than the GPU has."""
    largest = {
        stage_id: max((sum(parts.values()), moment) for moment, parts in moments.items())
        for stage_id, moments in computed.items()
    }
    too_large = [
        f"stage '{stage_id}' takes {taken / GIB:.1f} GiB ({moment})"
        for stage_id, (taken, moment) in largest.items()
        if taken > gpu_memory * GIB
    ]
    if too_large:
        raise CheckFailedError(
            f"{'; '.join(too_large)}, and the GPU has {gpu_memory:g} GiB. Lower per_device_train_batch_size, set "
            "'peft', or load the model in bfloat16."
        )
