"""What the stages share that train on rows by a trainer of TRL's. Imports TRL where it is used."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from guerdon import Model, StageContext
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.trl_options import trl_parameters

_DEFAULTS = {"logging_steps": 1, "save_steps": 100}


def signature_with(stage: type, config: str) -> inspect.Signature:
    """Return a stage's own params and the options of TRL's config. Without TRL, its options are not listed."""
    own = [p for p in inspect.signature(stage, eval_str=True).parameters.values() if p.kind is p.KEYWORD_ONLY]
    try:
        return inspect.Signature([*own, *trl_parameters(config)])
    except MissingDependencyError:  # the stage's preflight says so
        return inspect.Signature([*own, inspect.Parameter("trl_options", inspect.Parameter.VAR_KEYWORD)])


def configure(
    config_class: type[Any], options: Mapping[str, Any], context: StageContext
) -> tuple[Any, Model, dict[str, Any]]:
    """TRL's config, the model to start from, and what else its loading takes.

    Raises:
        ParamsError: TRL refuses the options.
    """
    from datasets import disable_progress_bars

    from guerdon.grpo.options import trl_config

    disable_progress_bars()  # one a pass over the rows, on a terminal that belongs to the run's progress display
    config = trl_config(config_class, {**_DEFAULTS, **options}, context.work, context.seed)
    model_options = dict(config.model_init_kwargs or {})
    config.model_init_kwargs = None
    source = replace(context.model, dtype=model_options.pop("dtype", context.model.dtype))
    return config, source, model_options


def train(trainer: Any, context: StageContext) -> None:
    """Train, from the newest checkpoint that a killed try left, and save the model and its tokenizer."""
    from transformers import PrinterCallback

    from guerdon.grpo import CheckpointMarker, ReportProgress, newest_checkpoint

    trainer.remove_callback(PrinterCallback)  # it prints the metrics as dicts
    trainer.add_callback(CheckpointMarker())
    trainer.add_callback(ReportProgress(context.progress))
    checkpoint = newest_checkpoint(context.work)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    save(trainer, context.output)


def lora_config(options: Mapping[str, Any] | None) -> Any:
    """The config of the adapters that a param asks for.

    Raises:
        UsageError: peft refuses an option.
    """
    if options is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM", **options})
    except TypeError as error:
        raise UsageError(f"peft refuses the param 'peft': {error}") from error


def save(trainer: Any, output: Path) -> None:
    """Save the model, adapters merged into it, and its tokenizer: a checkpoint for any stage to start from."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "merge_and_unload"):
        trainer.save_model(str(output))
    elif trainer.accelerator.is_main_process:
        model.merge_and_unload().save_pretrained(output)
    if trainer.accelerator.is_main_process:
        trainer.processing_class.save_pretrained(output)


def summary(trainer: Any, *names: str) -> dict[str, Any]:
    """The number of steps, and the means of logged metrics over the last tenth of the logged steps."""
    history: Sequence[Mapping[str, Any]] = trainer.state.log_history
    logged = [entry for entry in history if "loss" in entry]
    if not logged:
        return {}
    last = logged[-max(1, len(logged) // 10) :]
    present = [name for name in names if name in logged[-1]]
    return {"steps": logged[-1]["step"], **{name: mean(entry[name] for entry in last) for name in present}}
