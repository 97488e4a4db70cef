"""TRL's asynchronous GRPO trainer with a rubric instead of its reward functions."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer, async_grpo_trainer
from trl.experimental.async_grpo.vllm_client import VLLMClient

from guerdon.errors import UsageError
from guerdon.grpo.asynchronous.attention import use_tree_attention
from guerdon.grpo.asynchronous.judging import GroupJudge, JudgedGroup
from guerdon.grpo.asynchronous.sampling import (
    Prompts,
    SamplingWorker,
    completion_of,
    not_called,
    prompt_ids,
)
from guerdon.grpo.asynchronous.server import answered, complete, served
from guerdon.grpo.asynchronous.weights import FolderWeightTransfer
from guerdon.grpo.dynamic_trainer import rollout_of
from guerdon.grpo.reward_matrix import by_column, group_metrics, judging_metrics
from guerdon.grpo.trainer import LogRollouts
from guerdon.rubric import Rubric
from guerdon.training.evaluation import EvaluatingTrainer, Evaluator
from guerdon.training.together import raised_in_all
from guerdon.types import Rollout, Row

__all__ = ["AsyncGRPOConfig", "RubricAsyncGRPOTrainer", "ServedTrainer", "WeightTransfer"]

_MOST_DIVERGENCE = 1.0
"""The most KL divergence per token of the first completions. Other dtypes give hundredths, other models several."""

WeightTransfer = Literal["nccl", "folder"]
"""How the server gets the weights."""


class ServedTrainer(AsyncGRPOTrainer):
    """TRL's trainer, whose groups are sampled by a process of its own and judged by a thread.

    Args:
        load: Loads the policy, with the attention that it gets by name.
        rubric: Judges the rollouts.
        args: TRL's configuration.
        train_dataset: The data, from ``guerdon.training.data.rows_dataset``.
        rows: The same data.
        processing_class: The model's tokenizer.
        weight_transfer: ``nccl``: as TRL. ``folder``: as files in a folder that the server sees too.
        shuffle: Whether each pass takes the rows in a random order.
        **kwargs: Other arguments of TRL's trainer.

    Raises:
        InfrastructureError: The server does not answer.
        UsageError: The server was started without what the trainer needs.
    """

    args: AsyncGRPOConfig

    def __init__(
        self,
        load: Callable[..., PreTrainedModel],
        rubric: Rubric,
        args: AsyncGRPOConfig,
        train_dataset: Dataset,
        rows: Sequence[Row],
        processing_class: PreTrainedTokenizerBase,
        weight_transfer: WeightTransfer = "nccl",
        shuffle: bool = True,
        **kwargs: Any,
    ) -> None:
        client = VLLMClient(args.vllm_server_base_url, args.vllm_server_timeout)
        with raised_in_all():
            self._served = served(client, args.temperature)
        if args.token_budget is None:
            args.token_budget = self._served.positions
        self._step_of_version: dict[int, int] = {}
        self._synced_step = -1
        self._compared = False
        transfer = None
        if weight_transfer == "folder":
            folder = Path(str(args.output_dir), "weights")
            transfer = FolderWeightTransfer(client, folder, args.weight_sync_timeout)

        def worker(**options: Any) -> SamplingWorker:
            prompts = Prompts([row["prompt"] for row in rows], args.seed if shuffle else None)
            # Completions wait for the trainer in the judge's queue.
            own = {"model_name": self._served.name, "dataset": prompts, "queue_maxsize": 1}
            return SamplingWorker(positions=self._served.positions, **{**options, **own})

        with _made_by(worker, load):
            super().__init__(
                model="the policy",
                args=args,
                train_dataset=train_dataset,
                processing_class=processing_class,
                reward_funcs=not_called,
                weight_transfer=transfer,
                **kwargs,
            )
        if self.accelerator.device.type == "cpu":
            use_tree_attention()
        policy: Any = self.accelerator.unwrap_model(self.model)
        if self._served.on_cpu and policy.config.get_text_config().tie_word_embeddings:
            raise UsageError(
                "the model's head is its embeddings (tie_word_embeddings), and the vLLM server runs on a CPU, where it "
                "keeps a packed copy of the head that new weights do not change. Train and serve a copy of the model "
                "with a head of its own, or use a GPU."
            )
        self._judge: GroupJudge | None = None
        if self.accelerator.is_main_process:
            self._judge = GroupJudge(
                rubric,
                rows,
                self.rollout_worker.rollout_buffer,
                self._step_of_version.__getitem__,
                self.args.queue_maxsize,
            )
            self.rollout_queue = self._judge.samples

    def _sync_weight(self) -> None:
        with answered(self.args.vllm_server_base_url):
            synchronize: Any = super()._sync_weight
            synchronize()
        self._synced_step = self.state.global_step
        self._step_of_version[self.model_version] = self._synced_step

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Train on a micro-batch. At the first one, check that the server samples from the policy."""
        train: Any = super().training_step
        loss: torch.Tensor = train(*args, **kwargs)
        if not self._compared:
            self._compared = True
            divergence = self._metrics["train"]["kl"][-1]
            if not divergence < _MOST_DIVERGENCE:
                raise UsageError(
                    f"the vLLM server at {self.args.vllm_server_base_url} does not sample from the policy: their "
                    f"probabilities differ (KL {divergence:.1f}) with the same weights. Serve a model of the policy's "
                    "architecture and tokenizer, which no other run sends weights to."
                )
        return loss

    def _inner_training_loop(self, *args: Any, **kwargs: Any) -> Any:
        train: Any = super()._inner_training_loop
        if self._judge is None:
            return train(*args, **kwargs)
        self._judge.start()
        try:
            return train(*args, **kwargs)
        finally:
            self._judge.stop()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # TRL resumes at the first group that was not trained. Stale groups and groups without rewards never are, so
        # a resumed run would sample all groups after such a one again.
        trained = self._trained_groups
        self._trained_groups = set(range(max(trained, default=-1) + 1))
        save: Any = super()._save_checkpoint
        try:
            save(model, trial)
        finally:
            self._trained_groups = trained


class RubricAsyncGRPOTrainer(EvaluatingTrainer, ServedTrainer):
    """Trains by GRPO on the rewards of a rubric, while a vLLM server samples with weights of a few steps ago.

    A group is judged with the weights of the rubric at the step of the policy that sampled it.

    Args:
        *args: As for ``ServedTrainer``.
        log_rollouts: Takes the step and judged rollouts, on the main process.
        metrics_by: The columns to break the metrics down by.
        **kwargs: As for ``ServedTrainer``.
    """

    def __init__(
        self,
        *args: Any,
        log_rollouts: LogRollouts | None = None,
        metrics_by: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._log_rollouts = log_rollouts
        self._metrics_by = metrics_by
        self.remove_callback(PrinterCallback)  # it prints the metrics as dicts
        self.add_callback(_AfterStep(self._report))

    def _report(self) -> None:
        """Add the groups that were judged in the latest step to the metrics and the records."""
        if self._judge is None:
            return
        metrics: Any = self._metrics["train"]
        for group in _waiting(self._judge.judged):
            retrying = {entry.name for entry in self._judge.rubric.entries if entry.retries}
            columns = [{**rollout.columns, "prompt": rollout.prompt} for rollout in group.rollouts]
            values = [
                *judging_metrics(group.judgements, retrying),
                *group.judgements.metrics.items(),
                *by_column(columns, group.judgements, self._metrics_by),
                *group_metrics(group.rewards, len(group.rewards)).items(),
                ("sample/policy_step", float(group.step)),
            ]
            for name, value in values:
                metrics[name].append((value, 1.0))  # TRL would sum or compare the values of some names
            if self._log_rollouts is not None:
                count = len(group.rollouts)
                self._log_rollouts(
                    self.state.global_step,
                    group.rollouts,
                    group.judgements,
                    group=[group.number] * count,
                    policy_step=[group.step] * count,
                    advantage=group.advantages,
                )

    def _measure(self, evaluator: Evaluator) -> dict[str, float]:
        if self._synced_step != self.state.global_step:
            self._sync_weight()
        return super()._measure(evaluator)

    def answer(self, rows: Sequence[Row], batch: int) -> list[Rollout]:
        """Sample one completion for each row at the server, as in training, for an evaluation.

        Args:
            rows: The rows, with their prompts.
            batch: The number of the batch.
        """
        del batch  # for stages with environments
        args = self.args
        options = {
            "model": self._request_model,
            "max_tokens": args.max_completion_length,
            "temperature": args.temperature,
            "top_p": args.top_p,
            "top_k": args.top_k,
            "repetition_penalty": args.repetition_penalty,
            **({} if args.min_p is None else {"min_p": args.min_p}),
        }
        seeds = torch.randint(2**31, (len(rows),)).tolist()
        tokenizer: Any = self.processing_class
        template: Any = args.chat_template_kwargs
        prompts = [prompt_ids(tokenizer, row["prompt"], template) for row in rows]
        with answered(args.vllm_server_base_url):
            made = complete(args.vllm_server_base_url, prompts, seeds, options, args.request_timeout)
        return [
            rollout_of(row["prompt"], completion_of(tokenizer, row["prompt"], ids), dict(row), ids)
            for row, ids in zip(rows, made, strict=True)
        ]

    @property
    def _request_model(self) -> str:
        """Return the name of the policy at the server."""
        return f"{self._lora_name}-v{self.model_version}" if self._lora_sync else self._served.name


class _AfterStep(TrainerCallback):
    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._function()


@contextmanager
def _made_by(worker: Callable[..., SamplingWorker], load: Callable[..., PreTrainedModel]) -> Iterator[None]:
    """Let TRL's constructor make its worker and its model by other functions, with the arguments that it derives.

    It adds two callbacks of one class, of which transformers would warn in six lines.
    """
    callbacks = logging.getLogger("transformers.trainer_callback")
    level = callbacks.level
    callbacks.setLevel(logging.ERROR)
    names = ["AsyncRolloutWorker", "create_model_from_path", "get_peak_flops_per_device"]
    own = {name: getattr(async_grpo_trainer, name) for name in names}
    module: Any = async_grpo_trainer
    module.AsyncRolloutWorker = worker
    module.create_model_from_path = lambda *_, attn_implementation, **__: load(
        attn_implementation=attn_implementation
    )
    if not torch.cuda.is_available():  # TRL asks CUDA for the device's name
        module.get_peak_flops_per_device = lambda *_: None
    try:
        yield
    finally:
        vars(module).update(own)
        callbacks.setLevel(level)


def _waiting(judged: queue.SimpleQueue[JudgedGroup]) -> Iterator[JudgedGroup]:
    while True:
        try:
            yield judged.get_nowait()
        except queue.Empty:
            return
