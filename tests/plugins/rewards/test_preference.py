"""The reward of a reward model: what it is asked, what becomes of its numbers, and when it cannot judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import fmean, pstdev
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
)

from guerdon import Failure, Outcome, Rollout, Score
from guerdon.errors import FailureBudgetError, InfrastructureError, UsageError
from guerdon.plugins.component import load_component
from guerdon.plugins.discovery import SCORERS, find_plugin
from guerdon.rubric import Entry, Rubric
from guerdon_plugins.rewards.preference import Preference, remote
from guerdon_plugins.rewards.preference.normalization import RunningZScore, clipped, sigmoid

TEMPLATE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
CHAT = [{"role": "user", "content": "hello"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def save_tokenizer(folder: Path, chat_template: str | None, **special: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import TemplateProcessing

    letters = ["<end>", "<pad>", "<sep>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if special:
        tokenizer.post_processor = TemplateProcessing(
            single="$A <sep>", pair="$A <sep> $B:1 <sep>:1", special_tokens=[("<sep>", 2)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<pad>",
        chat_template=chat_template,
        **special,
    )
    fast.save_pretrained(folder)
    return fast


def save_model(
    folder: Path, architecture: str = "llama", head: Any = AutoModelForSequenceClassification, labels: int = 1
) -> Path:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=259,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=1,
        num_labels=labels,
    )
    head.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("reward")
    save_tokenizer(folder, TEMPLATE)
    return str(save_model(folder))


def reward_of(folder: str, text: str) -> float:
    """What the model itself says of a text."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"]]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor(ids)).logits[0, 0])


def values(scores: Sequence[Score]) -> list[float]:
    assert all(score.value is not None for score in scores), scores
    return [score.value for score in scores if score.value is not None]


def test_conversations_go_through_the_models_chat_template_in_any_batch(reward_model: str) -> None:
    replies = ["a long reply of many words", "no", "", "yes, of course"]
    expected = [reward_of(reward_model, f"[user]hello[assistant]{reply}") for reply in replies]
    for batch_size in (1, 3, 16):
        reward = Preference(reward_model, batch_size=batch_size)
        scores = reward(prompts=[CHAT] * 4, completions=[said(reply) for reply in replies])
        assert values(scores) == pytest.approx(expected, abs=1e-5)


def test_texts_are_joined_and_ended(reward_model: str) -> None:
    scores = Preference(reward_model)(prompts=["hello "], completions=["world"])
    assert values(scores) == pytest.approx([reward_of(reward_model, "hello world<end>")], abs=1e-5)


def test_a_template_may_be_given(reward_model: str) -> None:
    scores = Preference(reward_model, chat_template="{{ messages[-1]['content'] }}!")(
        prompts=[CHAT], completions=[said("world")]
    )
    assert values(scores) == pytest.approx([reward_of(reward_model, "world!")], abs=1e-5)


def test_long_texts_lose_their_beginning(reward_model: str) -> None:
    prompt = "x" * 500
    scores = Preference(reward_model, max_length=6)(prompts=[prompt], completions=["hello"])
    assert values(scores) == pytest.approx([reward_of(reward_model, "hello<end>")], abs=1e-5)
    Preference(reward_model)(prompts=[prompt], completions=["hello"])  # the model takes 128 tokens


def test_a_model_with_a_separator_gets_a_pair(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, None, sep_token="<sep>")
    save_model(tmp_path, "bert")
    reward = Preference(str(tmp_path))
    polite, swapped = values(reward(prompts=[CHAT, "thanks"], completions=[said("thanks"), "hello"]))
    assert polite != swapped
    assert values(reward(prompts=["hello"], completions=["thanks"])) == pytest.approx([polite], abs=1e-5)


def test_a_summary_is_what_follows_the_reasoning(reward_model: str) -> None:
    completion = said("<think>They are rude.</think><answer>Good morning!</answer>")
    by_part = {
        part: values(Preference(reward_model, part=part)(prompts=[CHAT], completions=[completion]))[0]
        for part in ("summary", "response")
    }
    assert by_part["summary"] == pytest.approx(
        reward_of(reward_model, "[user]hello[assistant]Good morning!"), abs=1e-5
    )
    assert by_part["response"] == pytest.approx(
        reward_of(reward_model, f"[user]hello[assistant]{completion[0]['content']}"), abs=1e-5
    )


def test_the_models_own_number_is_kept_beside_the_normalized_one(reward_model: str) -> None:
    completions = [said(reply) for reply in ("yes", "no", "perhaps")]
    raw = values(Preference(reward_model)(prompts=[CHAT] * 3, completions=completions))
    scores = Preference(reward_model, normalize="sigmoid", clip=0.6)(
        prompts=[CHAT] * 3, completions=completions
    )
    assert values(scores) == [min(value, 0.6) for value in sigmoid(raw)]
    assert [score.metadata["reward_model"] for score in scores] == raw


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_sigmoid_and_clip_keep_the_order_and_their_bounds(numbers: list[float]) -> None:
    squashed = sigmoid(sorted(numbers))
    assert squashed == sorted(squashed)
    assert all(0 <= value <= 1 for value in squashed)
    assert all(-2 <= value <= 2 for value in clipped(numbers, 2.0))
    assert clipped(numbers, None) is numbers


@given(st.lists(st.lists(st.integers(-1000, 1000)), min_size=1, max_size=5))
def test_a_running_z_score_is_one_over_all_that_was_seen(calls: list[list[int]]) -> None:
    zscore = RunningZScore(None)
    seen: list[float] = []
    for step, numbers in enumerate(calls):
        got = zscore([float(number) for number in numbers], step)
        seen += numbers
        deviation = pstdev(seen) if seen else 0.0
        expected = [(number - fmean(seen)) / deviation if deviation else 0.0 for number in numbers]
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("last_write", ["whole", "torn"])
def test_z_scores_after_a_kill_are_those_of_an_unbroken_run(tmp_path: Path, last_write: str) -> None:
    calls = [[float(step), 2.0 * step, -1.0] for step in range(6)]
    whole = RunningZScore(None)
    expected = [whole(numbers, step) for step, numbers in enumerate(calls)]
    killed = RunningZScore(tmp_path / "state")
    for step in range(5):
        killed(calls[step], step)
    if last_write == "torn":
        (file,) = (tmp_path / "state").iterdir()
        file.write_text(file.read_text()[:-9])
    for start in (3, 2):  # resumed from one checkpoint, and then again from an earlier one
        resumed = RunningZScore(tmp_path / "state")
        assert [resumed(calls[step], step) for step in range(start, 6)] == expected[start:]


def test_the_step_is_the_trainers(reward_model: str, tmp_path: Path) -> None:
    reward = Preference(reward_model, normalize="zscore", state_dir=tmp_path)
    reward(prompts=[CHAT], completions=[said("yes")], trainer_state=SimpleNamespace(global_step=7))
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["step"] == 7


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "neither of model and url"),
        ({"model": "m", "url": "http://x"}, "both of model and url"),
        ({"model": "m", "clip": 0.0}, "clip is 0"),
        ({"model": "m", "batch_size": 0}, "batch_size is 0"),
        ({"model": "m", "max_length": 0}, "max_length is 0"),
        ({"url": "localhost:8000/classify"}, "http://localhost:8000/classify"),
    ],
)
def test_params_that_cannot_be_meant(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preference(**params)


def entry(**params: Any) -> Entry:
    plugin = find_plugin("preference", SCORERS)
    return Entry("likes", load_component(plugin, params, None))


@pytest.fixture(scope="module")
def causal_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("causal")
    save_tokenizer(folder, TEMPLATE)
    return str(save_model(folder, head=AutoModelForCausalLM))


def test_a_model_without_a_head_is_told_before_anything_runs(causal_model: str) -> None:
    with pytest.raises(UsageError, match="LlamaForCausalLM, which has no head for rewards"):
        Preference(causal_model).preflight()
    with pytest.raises(UsageError, match=r"no weights for score.weight, so its rewards would be random"):
        Preference(causal_model)(prompts=[CHAT], completions=[said("yes")])


def test_the_preflight_looks_at_the_hub_without_reading_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InfrastructureError, match="'nobody/nothing' cannot be had from the hub"):
        Preference("nobody/nothing").preflight()


def test_a_run_stops_where_its_reward_model_has_no_head(causal_model: str) -> None:
    with (
        Rubric([entry(model=causal_model)], failure_budget=0.1) as rubric,
        pytest.raises(FailureBudgetError, match="its rewards would be random"),
    ):
        rubric.score([Rollout(CHAT, said(str(number))) for number in range(8)])


def test_a_model_that_tells_classes_apart_is_not_a_reward_model(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, TEMPLATE)
    save_model(tmp_path, labels=3)
    with pytest.raises(UsageError, match="tells 3 classes apart"):
        Preference(str(tmp_path))(prompts=[CHAT], completions=[said("yes")])


def test_conversations_without_a_template_are_an_error(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, None)
    save_model(tmp_path)
    with pytest.raises(UsageError, match="has no chat template"):
        Preference(str(tmp_path))(prompts=[CHAT], completions=[said("yes")])


def test_a_number_that_is_none_is_a_failure(tmp_path: Path) -> None:
    save_tokenizer(tmp_path, TEMPLATE)
    save_model(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    model.score.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    (score,) = Preference(str(tmp_path), normalize="zscore")(prompts=[CHAT], completions=[said("yes")])
    assert (score.outcome, score.failure) == (Outcome.FAILED, Failure.VERIFIER)


def test_a_text_that_no_tokenizer_takes_is_judged(reward_model: str) -> None:
    scores = Preference(reward_model)(prompts=[CHAT], completions=[said("\ud800 hello \udfff")])
    assert values(scores) == values(Preference(reward_model)(prompts=[CHAT], completions=[said("? hello ?")]))


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    reward = Preference(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="does not exist"):
        reward(prompts=[CHAT], completions=[said("yes")])
    with pytest.raises(UsageError, match=r"holds no config.json"):
        reward.preflight()


Answer = tuple[int, str]


@contextmanager
def server(answer: Callable[[dict[str, Any], int], Answer]) -> Iterator[str]:
    """Serves what `answer` makes of a request and of how many came before it; gives the address."""
    lock = threading.Lock()
    count = iter(range(1000))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                status, text = answer(body, next(count))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/classify"
        finally:
            running.shutdown()
            thread.join()


def reward_answer(number: float) -> str:
    return json.dumps({"data": [{"index": 0, "label": "LABEL_0", "probs": [number], "num_classes": 1}]})


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0, 0.0))


def test_a_model_behind_http_is_asked_for_the_raw_number_of_each_reply() -> None:
    def answer(body: dict[str, Any], _: int) -> Answer:
        assert body["use_activation"] is False
        text = body["input"] if "input" in body else body["messages"][-1]["content"]
        return 200, reward_answer(len(text))

    with server(answer) as url:
        reward = Preference(url=url, part="summary")
        reward.preflight()
        completions = [said("<think>hm</think>" + "x" * number) for number in range(1, 40)]
        scores = reward(prompts=[CHAT] * len(completions), completions=completions)
        assert values(scores) == list(range(1, 40))
        assert values(reward(prompts=["ab"], completions=["cd"])) == [4]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_recovers_is_asked_again(status: int) -> None:
    with server(lambda _, count: (status, "busy") if count < 2 else (200, reward_answer(1.5))) as url:
        assert values(Preference(url=url)(prompts=[CHAT], completions=[said("yes")])) == [1.5]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("answer", "failure", "words"),
    [
        ((500, "out of memory"), Failure.INFRASTRUCTURE, "answers 500 .* out of memory"),
        ((404, "no such model"), Failure.VERIFIER, "answers 404 .* no such model"),
        ((200, "It is a fine reply."), Failure.VERIFIER, "It is a fine reply"),
        ((200, '{"data": [{"pro'), Failure.VERIFIER, "the answer is not"),
        ((200, '{"data": [{"probs": [0.2, 0.8]}]}'), Failure.VERIFIER, "the answer is not"),
        ((200, '{"data": []}'), Failure.VERIFIER, "the answer is not"),
        ((200, reward_answer(float("nan"))), Failure.VERIFIER, "not a finite number"),
    ],
)
def test_what_a_server_does_wrong_is_a_failure_of_its_kind(
    answer: Answer, failure: Failure, words: str
) -> None:
    with server(lambda *_: answer) as url:
        (score,) = Preference(url=url)(prompts=[CHAT], completions=[said("yes")])
        assert score.failure is failure
        assert re.search(words, score.explanation)
        with pytest.raises(InfrastructureError, match="gives no reward"):
            Preference(url=url).preflight()


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_not_there_is_an_infrastructure_failure() -> None:
    with server(lambda *_: (200, "")) as url:
        pass
    reward = Preference(url=url)
    scores = reward(prompts=[CHAT] * 3, completions=[said("yes")] * 3)
    assert [score.failure for score in scores] == [Failure.INFRASTRUCTURE] * 3
    with pytest.raises(InfrastructureError, match="does not answer"):
        reward.preflight()


def test_importing_the_reward_imports_no_torch() -> None:
    check = "import sys, guerdon_plugins.rewards.preference; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
