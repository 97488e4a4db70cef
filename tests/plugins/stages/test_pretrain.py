"""Pretraining from scratch: a tokenizer with whole numbers, a model that learns, and a kill that changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from guerdon.errors import DataError, StageFailedError
from guerdon_plugins.sources.miniature.arithmetic import Arithmetic
from guerdon_plugins.stages.pretrain.documents import Batch, Document, batches, document_text, encode
from guerdon_plugins.stages.pretrain.muon import Muon, orthogonalized
from guerdon_plugins.stages.pretrain.stage import Pretrain
from guerdon_plugins.stages.pretrain.tokenizer import train_tokenizer
from guerdon_plugins.stages.pretrain.training import Training

TAGS = ("<think>", "</think>")
ARCHITECTURE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(["12 plus 5 is 17.", "12加5得17。", "<think>"] * 20, 400, TAGS)


class TestTokenizer:
    @given(
        number=st.integers(0, 99),
        before=st.sampled_from(["", " ", "加", "(", "is "]),
        after=st.text(max_size=3),
    )
    def test_numbers_below_100_are_one_token(
        self, tokenizer: PreTrainedTokenizerFast, number: int, before: str, after: str
    ) -> None:
        if after[:1].isnumeric():
            after = ""
        tokens = [tokenizer.decode([token]) for token in tokenizer.encode(f"{before}{number}{after}")]
        assert str(number) in tokens

    @given(text=st.text())
    def test_any_text_comes_back(self, tokenizer: PreTrainedTokenizerFast, text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text), clean_up_tokenization_spaces=False) == text

    def test_added_tokens_are_one_token_and_stay_text(self, tokenizer: PreTrainedTokenizerFast) -> None:
        ids = tokenizer.encode("<think>12</think>")
        assert len(ids) == 3
        assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>12</think>"

    def test_a_chat_marks_the_replies(self, tokenizer: PreTrainedTokenizerFast) -> None:
        chat = [{"role": "user", "content": "5"}, {"role": "assistant", "content": "17"}]
        encoded: Any = tokenizer.apply_chat_template(
            chat, return_dict=True, return_assistant_tokens_mask=True
        )
        tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
        assert tokens == ["<|user|>", "5", "<|assistant|>", "17", "<|end|>"]
        assert encoded["assistant_masks"] == [0, 0, 0, 1, 1]
        prompt = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
        assert prompt == "<|user|>5<|assistant|>"

    def test_a_vocabulary_without_room_is_refused(self) -> None:
        with pytest.raises(ValueError, match="vocab_size is 300, and needs at least 353"):
            train_tokenizer(["text"], 300, TAGS)


class TestDocuments:
    @pytest.mark.parametrize(
        "row",
        [
            {"messages": [{"role": "user", "content": "5"}, {"role": "assistant", "content": "17"}]},
            {"prompt": "5", "completion": "17"},
            {
                "prompt": [{"role": "user", "content": "5"}],
                "completion": [{"role": "assistant", "content": "17"}],
                "language": "en",
            },
        ],
    )
    def test_replies_are_learned(self, tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> None:
        (document,) = encode([document_text(row)], tokenizer, 100)
        assert list(document.learned) == [0, 0, 0, 1, 1]

    def test_plain_text_is_learned_to_its_end(self, tokenizer: PreTrainedTokenizerFast) -> None:
        (document,) = encode([document_text({"text": "12"})], tokenizer, 100)
        assert document == Document([*tokenizer.encode("12"), tokenizer.eos_token_id], [1, 1])

    def test_documents_encoded_together_are_those_encoded_alone(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        rows = [
            {"text": "12"},
            {"prompt": "5", "completion": "17"},
            {"text": ""},
            {"prompt": "", "completion": "1"},
        ]
        texts = [document_text(row) for row in rows * 600]
        alone = [document for text in texts[:4] for document in encode([text], tokenizer, 100)]
        assert encode(texts, tokenizer, 100) == alone * 600

    def test_long_documents_are_cut_and_ones_with_nothing_to_learn_left_out(
        self, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        texts = [document_text({"prompt": "5", "completion": "12 17 12 17"})]
        assert [len(document.ids) for document in encode(texts, tokenizer, 5)] == [5]
        assert encode(texts, tokenizer, 3) == []

    def test_other_rows_are_refused_with_their_columns(self) -> None:
        with pytest.raises(DataError, match="columns prompt, reference"):
            document_text({"prompt": "5", "reference": "17"})

    @given(seed=st.integers(), start=st.integers(0, 20))
    def test_batches_resume_where_they_stopped(self, seed: int, start: int) -> None:
        documents = [Document([n] * (n % 7 + 1), [1] * (n % 7 + 1)) for n in range(1, 30)]

        def first_tokens(start: int, count: int) -> list[list[int]]:
            feed = batches(documents, 4, 0, seed, start)
            return [batch.ids[:, 0].tolist() for batch in islice(feed, count)]

        assert first_tokens(start, 5) == first_tokens(0, start + 5)[start:]
        epoch = Counter(token for batch in first_tokens(0, 8) for token in batch)
        assert epoch == Counter(range(1, 30))


class TestMuon:
    @pytest.mark.parametrize("shape", [(3, 8, 8), (2, 16, 4), (2, 4, 16)])
    def test_orthogonalized_matrices_have_singular_values_near_one(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        matrices = torch.randn(shape)
        result = orthogonalized(matrices)
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.5
        assert values.max() < 1.3
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        off_diagonal = left.mT @ result @ right.mT
        off_diagonal.diagonal(dim1=-2, dim2=-1).zero_()
        assert off_diagonal.abs().max() < 1e-4

    def test_it_moves_as_torch_s_does(self) -> None:
        torch.manual_seed(0)
        ours, theirs = (torch.nn.Parameter(torch.zeros(64, 32)) for _ in range(2))
        optimizers = [Muon([ours], 0.1), torch.optim.Muon([theirs], 0.1, weight_decay=0)]
        for _ in range(3):
            gradient = torch.randn(64, 32)
            for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
                parameter.grad = gradient.clone()
                optimizer.step()
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()  # torch rounds to bfloat16


def test_a_model_learns_from_scratch(make_context: Callable[..., Any]) -> None:
    rows = list(islice(Arithmetic("solutions"), 300))
    context, log = make_context(rows)
    result = Pretrain(100, ARCHITECTURE, added_tokens=TAGS, warmup_steps=10, logging_steps=25).run(context)
    losses = [metrics["loss"] for _, _, metrics in log.progress]
    assert [step for step, _, _ in log.progress] == [25, 50, 75, 100]
    assert losses[-1] < 0.5 * losses[0]
    assert result.metrics["loss"] == losses[-1]
    assert result.metrics["documents"] == 300
    assert result.checkpoint == context.output
    tokenizer: Any = AutoTokenizer.from_pretrained(context.output)
    model: Any = AutoModelForCausalLM.from_pretrained(context.output)
    assert model.num_parameters() == result.metrics["parameters"]
    inputs = tokenizer.apply_chat_template(
        rows[0]["prompt"], add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    output = model.generate(**inputs, max_new_tokens=30, do_sample=False)
    assert tokenizer.decode(output[0, inputs["input_ids"].shape[1] :]).startswith("<think>")


def small_llama() -> Any:
    config: Any = LlamaConfig  # its constructor and the model's carry other types
    llama: Any = LlamaForCausalLM
    torch.manual_seed(0)
    return llama(config(vocab_size=50, **ARCHITECTURE))


class TestShards:
    """A batch in shards is the batch, whatever the number of threads and of documents."""

    @staticmethod
    def trained(sizes: Sequence[int], shards: int, threads: int) -> list[torch.Tensor]:
        model = small_llama()
        with Training(model, 0.01, 3e-3, tokens=20.0) as training:
            training._shards = shards
            training._threads = ThreadPoolExecutor(threads)
            draw = torch.Generator().manual_seed(1)
            for size in sizes:
                ids = torch.randint(50, (size, 7), generator=draw)
                training.update(Batch(ids, torch.rand(size, 7, generator=draw) < 0.7), 1.0)
            assert training.step == len(sizes)
            return [parameter.detach().clone() for parameter in model.parameters()]

    SIZES = (4, 5, 1, 2, 3)

    def test_one_thread_and_two_give_the_same_weights(self) -> None:
        one, two = self.trained(self.SIZES, 2, 1), self.trained(self.SIZES, 2, 2)
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(one, two, strict=True))

    def test_two_shards_are_one_but_for_rounding(self) -> None:
        one, two = self.trained(self.SIZES, 1, 1), self.trained(self.SIZES, 2, 2)
        start = self.trained((), 1, 1)
        for ours, theirs, before in zip(one, two, start, strict=True):
            assert (ours - theirs).abs().max() < 1e-3 * (ours - before).abs().max()


def test_a_checkpoint_of_other_optimizers_is_an_error_that_names_it(tmp_path: Path) -> None:
    torch.save({"optimizers": {"muon": {}, "adamw": {}}}, tmp_path / "checkpoint.pt")
    with (
        Training(small_llama(), 0.01, 3e-3, tokens=20.0) as training,
        pytest.raises(StageFailedError, match=r"checkpoint\.pt was written by another version of guerdon"),
    ):
        training.load(tmp_path / "checkpoint.pt")


def test_rows_with_nothing_to_learn_are_refused(make_context: Callable[..., Any]) -> None:
    context, _ = make_context([{"prompt": "a question", "completion": "an answer"}])
    with pytest.raises(DataError, match="none of 1 rows has anything to learn within 3 tokens"):
        Pretrain(1, ARCHITECTURE, max_length=3).run(context)


def test_a_killed_pretraining_ends_as_an_unbroken_one(
    run_killed_and_whole: Callable[..., tuple[Path, Path]],
) -> None:
    killed, whole = run_killed_and_whole("pretrain")
    ours, theirs = (load_file(folder / "output" / "model.safetensors") for folder in (killed, whole))
    assert ours.keys() == theirs.keys()
    assert all((ours[name] == theirs[name]).all() for name in ours)
    assert json.loads((killed / "metrics.json").read_text()) == json.loads(
        (whole / "metrics.json").read_text()
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_steps": 0}, "max_steps is 0"),
        ({"max_steps": 1, "save_steps": 0}, "save_steps is 0"),
        ({"max_steps": 1, "architecture": {"hidden": 3}}, "hidden, which LlamaConfig does not know"),
        ({"max_steps": 1, "architecture": {"vocab_size": 3}}, "vocab_size, which the tokenizer decides"),
        ({"max_steps": 1, "architecture": {"hidden_size": -4}}, "hidden_size: -4. Give a whole number"),
        ({"max_steps": 1, "architecture": {"hidden_size": 64.0}}, "hidden_size: 64.0. Give a whole number"),
        ({"max_steps": 1, "architecture": {"num_hidden_layers": 0}}, "num_hidden_layers: 0. Give a whole"),
        ({"max_steps": 1, "architecture": {"hidden_size": 130}}, "hidden_size 130, not a multiple of 32"),
        (
            {"max_steps": 1, "architecture": {"num_key_value_heads": 3}},
            "32 num_attention_heads, not a multiple of 3",
        ),
        (
            {"max_steps": 1, "architecture": {"hidden_size": 12, "num_attention_heads": 4}},
            "heads of the width 3 .* it must be even",
        ),
        ({"max_steps": 1, "learning_rate": float("nan")}, "learning_rate is nan"),
        ({"max_steps": 1, "warmup_steps": -1}, "warmup_steps is -1"),
    ],
)
def test_bad_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Pretrain(**params)
