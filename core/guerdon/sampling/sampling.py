"""How completions are drawn, the same for whatever draws them. Importing this module imports no torch.

Of a model's own ``generation_config`` only the end tokens count. Everything else in it (temperature, penalties,
forbidden tokens) is left out, because vLLM, an endpoint and the loop for small models do not apply it: one stage would
sample from one distribution on one machine and from another one on the next. A stage's params say what is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_KEPT = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")
_OF_THE_FILE = ("transformers_version", "_from_model_config")
_PARAMS = ("do_sample", "temperature", "top_p", "top_k", "min_p", "max_length", "max_new_tokens", "use_cache")
"""What every stage that samples decides anyway."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn, by TRL's names."""

    max_completion_length: int
    """In tokens."""
    eos_token_ids: Sequence[int] = ()
    """The tokens that end a completion; a stage leaves them to the model, see :func:`end_ids`."""
    temperature: float = 1.0
    """0 takes the likeliest token every time."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for no such limit."""
    min_p: float | None = None


def end_ids(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a completion: those of the model's ``generation_config`` and the tokenizer's, as in TRL."""
    own = model.generation_config.eos_token_id
    ids = own if isinstance(own, list) else [own]
    return sorted({token for token in (*ids, tokenizer.eos_token_id) if token is not None})


def positions_of(config: Any) -> int | None:
    """How many tokens a model of this configuration has positions for, prompt and completion together."""
    positions: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return positions


def left_out(generation_config: Any) -> list[str]:
    """The options of a model's ``generation_config`` that change what is drawn and do not count."""
    known = (*_KEPT, *_OF_THE_FILE, *_PARAMS)
    different = generation_config.to_diff_dict()
    return sorted(name for name, value in different.items() if value and name not in known)


@contextmanager
def plain_generation(model: Any) -> Iterator[None]:
    """Keep the model's own generation options from transformers' ``generate``, which fills in what is not set."""
    own = model.generation_config
    model.generation_config = type(own)(**{name: getattr(own, name, None) for name in _KEPT})
    try:
        yield
    finally:
        model.generation_config = own
