"""Shared by the stages that train with a TRL trainer. Imports TRL where it is used."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from guerdon import Model, Rollout, Row, StageContext
from guerdon.errors import MissingDependencyError, UsageError
from guerdon.options.trl import trl_parameters
from guerdon_plugins.stages.trl.quantized import check_loaded, keep_layout

_DEFAULTS = {"logging_steps": 1, "save_steps": 100}

OPERATIONAL = (
    *("save_steps", "save_total_limit", "save_on_each_node", "enable_jit_checkpoint"),
    *("logging_steps", "logging_first_step", "logging_strategy", "logging_nan_inf_filter", "log_level"),
    *("log_level_replica", "log_on_each_node", "log_completions", "log_multimodal", "log_unique_prompts"),
    *("num_completions_to_print", "log_completions_hub_repo", "include_num_input_tokens_seen"),
    *("report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
    *("push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push"),
    *("hub_revision", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers"),
    *("dataloader_prefetch_factor", "dataset_num_proc", "ddp_timeout", "skip_memory_metrics"),
)
"""TRL's options that only affect logging and checkpoints, and not the result."""

EXTENDABLE = ("max_steps", "num_train_epochs")
"""TRL's options that extend a training."""

_SUMMARIZED = (
    "completions/mean_length",
    "entropy",
    "dynamic_sampling/kept_share",
    "dynamic_sampling/reward_before",
)
"""The metrics of a stage's result, in addition to the means of its entries."""


def resumable(trainer_class: type[Any]) -> type[Any]:
    """Return a TRL trainer class with the mixins for exact resumption and for evaluation."""
    from guerdon.training.evaluation import EvaluatingTrainer

    return type(f"Resumable{trainer_class.__name__}", (EvaluatingTrainer, trainer_class), {})


def tracker_options(context: StageContext) -> dict[str, str]:
    """Return the stage's names for trackers, as TRL's options."""
    if not context.run_name:
        return {}
    return {"run_name": context.run_name, "project": context.run_name.partition("/")[0]}


def signature_with(stage: type, config: str) -> inspect.Signature:
    """Return a stage's own params and the options of TRL's config. Without TRL, its options are not listed."""
    own = [p for p in inspect.signature(stage, eval_str=True).parameters.values() if p.kind is p.KEYWORD_ONLY]
    try:
        return inspect.Signature([*own, *trl_parameters(config)])
    except MissingDependencyError:  # the stage's preflight reports it
        return inspect.Signature([*own, inspect.Parameter("trl_options", inspect.Parameter.VAR_KEYWORD)])


def configure(
    config_class: type[Any], options: Mapping[str, Any], context: StageContext
) -> tuple[Any, Model, dict[str, Any]]:
    """Return TRL's config, the model to start from, and the other arguments of its loading.

    Raises:
        ParamsError: TRL refuses the options.
    """
    from datasets import disable_progress_bars

    from guerdon.training.options import trl_config
    from guerdon.training.transformers_seam import forget_cpu_number

    disable_progress_bars()  # a bar for each pass over the rows would disturb the run's progress display
    config = trl_config(
        config_class,
        {**_DEFAULTS, **tracker_options(context), **evaluation_batch(options), **options},
        context.work,
        context.seed,
    )
    source, model_options = take_model_options(config, context.model)
    forget_cpu_number(config)
    config.logging_nan_inf_filter = False  # FiniteLoss must get these values
    return config, source, model_options


def evaluation_batch(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of completions that an evaluation samples together: by default the batch of training."""
    size = options.get("per_device_train_batch_size")
    return {} if size is None else {"per_device_eval_batch_size": size}


def take_model_options(config: Any, model: Model) -> tuple[Model, dict[str, Any]]:
    """Take the options for loading the model out of TRL's config, which would not load the selected model.

    Returns:
        The model to start from, and the other arguments of its loading.
    """
    options = dict(config.model_init_kwargs or {})
    config.model_init_kwargs = None
    if config.trust_remote_code:
        options.setdefault("trust_remote_code", True)
    source = replace(
        model,
        dtype=options.pop("dtype", model.dtype),
        revision=options.pop("revision", model.revision),
    )
    return source, options


def fit(
    trainer: Any,
    context: StageContext,
    answer: Callable[[Sequence[Row], int], Sequence[Rollout | None]] | None = None,
    metrics_by: Sequence[str] = (),
) -> None:
    """Train from the newest valid checkpoint of an earlier attempt, up to the last step or an early stop.

    Args:
        trainer: A trainer with the mixin ``EvaluatingTrainer``.
        context: The stage's context.
        answer: Samples the completions of an evaluation's batch; needed if the stage has an evaluation.
        metrics_by: The columns to break the metrics of an evaluation down by.

    Raises:
        RunInterruptedError: A signal stopped the training, after a checkpoint.
    """
    from transformers import PrinterCallback

    from guerdon.training.checkpoints import check_finished, newest_checkpoint
    from guerdon.training.evaluation import Evaluator
    from guerdon.training.finite import FiniteLoss
    from guerdon.training.progress import ReportProgress, StopAfterStep

    model = trainer.accelerator.unwrap_model(trainer.model)
    check_loaded(model)
    keep_layout(model)
    trainer.remove_callback(PrinterCallback)  # it prints the metrics as dicts
    trainer.add_callback(ReportProgress(context.progress))
    stop = StopAfterStep(lambda: context.stop.requested)
    trainer.add_callback(stop)
    trainer.add_callback(FiniteLoss())
    checkpoint = newest_checkpoint(context.work)
    with ExitStack() as opened:
        if context.evaluation is not None:
            assert answer is not None
            rubric = opened.enter_context(context.evaluation.open_rubric())
            evaluator = Evaluator(
                settings=context.evaluation,
                rows=[row for open_source in context.evaluation.sources for row in open_source()],
                rubric=rubric,
                complete=answer,
                batch_size=trainer.args.per_device_eval_batch_size,
                save=lambda folder: save(trainer, folder, trains_on=True),
                seed=context.seed,
                metrics_by=metrics_by,
            )
            trainer.evaluate_by(evaluator, postponed=lambda: stop.stopped)
        opened.enter_context(context.stop.deferred())
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    state = trainer.state
    if stop.stopped:
        raise context.stop.error(
            context.stage_id, f"a checkpoint of step {state.global_step} of {state.max_steps} is saved"
        )
    check_finished(trainer)


def train(trainer: Any, context: StageContext, **evaluation: Any) -> None:
    """Train, as :func:`fit` does, and save the output: the best evaluated model, or else the last one."""
    fit(trainer, context, **evaluation)
    save_output(trainer, context)


def save_output(trainer: Any, context: StageContext) -> None:
    """Save the output of a training: the best evaluated model, or else the last one.

    Raises:
        OSError: ``push_to_hub`` is set, and the hub does not answer.
    """
    if trainer.best_step() is None:
        save(trainer, context.output)
    if context.evaluation is not None:
        trainer.copy_kept(context.output)
    if trainer.args.push_to_hub:  # the pushes of checkpoints run in threads that raise nothing
        _push(trainer, context.output)


def _push(trainer: Any, output: Path) -> None:
    """Push the output. Without a best evaluated model this is what the trainer has: the last model, or its adapters."""
    if trainer.best_step() is None:
        trainer.push_to_hub(commit_message="Model save", revision=trainer.args.hub_revision)
    elif trainer.is_world_process_zero():
        from huggingface_hub import HfApi

        HfApi(token=trainer.args.hub_token).upload_folder(
            repo_id=trainer.hub_model_id,
            folder_path=str(output),
            commit_message=f"The best evaluated model, of step {trainer.best_step()}",
            revision=trainer.args.hub_revision,
            ignore_patterns=["checkpoints/*"],
            delete_patterns=["adapter_*", "*.safetensors"],  # of the last checkpoint
        )


def evaluation_summary(trainer: Any) -> dict[str, Any]:
    """Return the metrics of the output's evaluation, and its step; nothing without an evaluation."""
    from guerdon.training.evaluation import evaluations

    known = dict(evaluations(trainer.state.log_history))
    if not known:
        return {}
    step = trainer.best_step() if trainer.best_step() is not None else max(known)
    shown = {name: value for name, value in known[step].items() if name.startswith("evaluation/")}
    means = {
        name: value for name, value in shown.items() if not name.endswith(("/failure_rate", "/std", "/count"))
    }
    return {"evaluation/step": step, **means}


def check_has_template(tokenizer: Any, model: Model, what: str) -> None:
    """Check that a tokenizer writes conversations.

    Args:
        tokenizer: The model's tokenizer.
        model: The model, for the message.
        what: What is a conversation: ``prompts``, ``pairs``.

    Raises:
        UsageError: It has no chat template.
    """
    if tokenizer.chat_template is None:
        raise UsageError(
            f"the {what} are conversations, and model '{model.name}' has no chat template. "
            "Set the param 'chat_template' to the text of a Jinja template."
        )


def lora_config(options: Mapping[str, Any] | None) -> Any:
    """Return the config of the adapters that a param selects.

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


def keep_completions(work: Path, logs: Path) -> None:
    """Keep TRL's tables of completions, which it writes inside ``work``, after ``work`` is deleted."""
    kept, written = logs / "completions", work / "completions"
    kept.mkdir(parents=True, exist_ok=True)
    if not written.is_symlink():
        written.symlink_to(os.path.relpath(kept, work), target_is_directory=True)


def save(trainer: Any, output: Path, *, trains_on: bool = False) -> None:
    """Save the model, with adapters merged, and its tokenizer, as a checkpoint that any stage can start from.

    Args:
        trainer: The trainer.
        output: The folder.
        trains_on: Whether training continues, so that adapters are merged in a copy of the model.
    """
    from guerdon.training.merging import merged_on_main

    model = trainer.accelerator.unwrap_model(trainer.model)
    if not hasattr(model, "merge_and_unload"):
        trainer.save_model(str(output), _internal_call=True)  # which does not push
    else:
        quantized = getattr(model.get_base_model(), "is_quantized", False)
        if (merged := merged_on_main(trainer, keep=trains_on)) is not None:
            # The original format of a quantized checkpoint is quantized.
            merged.save_pretrained(output, save_original_format=not quantized)
    if trainer.accelerator.is_main_process:
        trainer.processing_class.save_pretrained(output)


def summary(trainer: Any, *names: str) -> dict[str, Any]:
    """Return the number of steps, and the means of logged metrics over the last tenth of the logged steps."""
    history: Sequence[Mapping[str, Any]] = trainer.state.log_history
    logged = [entry for entry in history if "loss" in entry]
    if not logged:
        return {}
    last = logged[-max(1, len(logged) // 10) :]
    present = [name for name in names if name in logged[-1]]
    return {"steps": logged[-1]["step"], **{name: mean(entry[name] for entry in last) for name in present}}


def reward_summary(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean rewards over the first and the last tenth of the logged steps, and the last means of others."""
    steps = [entry for entry in history if entry.get("reward") is not None]
    if not steps:
        return {}
    share = max(1, len(steps) // 10)
    metrics: dict[str, Any] = {
        "steps": steps[-1]["step"],
        "reward_first": mean(entry["reward"] for entry in steps[:share]),
        "reward": mean(entry["reward"] for entry in steps[-share:]),
    }
    last = steps[-share:]
    for name in steps[-1]:
        values = [entry[name] for entry in last if entry.get(name) is not None]
        if values and (name.endswith("/mean") or name in _SUMMARIZED):
            metrics[name] = mean(values)
    return metrics
