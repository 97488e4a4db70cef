"""How completions are sampled, for all engines. Importing this module does not import torch.

A model's ``generation_config`` decides its end tokens. In stages that judge or harvest samples it also decides the
options in ``NEUTRAL`` that the stage's params do not set. Its other options (penalties, forbidden tokens) are ignored,
because vLLM, endpoints and the CPU loop do not all apply them. Otherwise one stage would sample from different
distributions on different machines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_KEPT = ("eos_token_id", "pad_token_id", "bos_token_id", "decoder_start_token_id")

NEUTRAL: Mapping[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None}
"""What decides how a token is drawn from the model's probabilities, each with the value that changes nothing."""

_IGNORED: Mapping[str, Any] = {
    "begin_suppress_tokens": None,
    "bad_words_ids": None,
    "constraints": None,
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "force_words_ids": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1.0,
    "length_penalty": 1.0,
    "max_time": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "num_beams": 1,
    "penalty_alpha": 0.0,
    "repetition_penalty": 1.0,
    "sequence_bias": None,
    "stop_strings": None,
    "suppress_tokens": None,
    "token_healing": False,
    "top_h": None,
    "typical_p": 1.0,
    "watermarking_config": None,
}
"""Options of transformers that change the sampling and that no stage sets, each with its neutral value."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling settings, by TRL's names."""

    max_completion_length: int
    """The most tokens of a completion."""
    eos_token_ids: Sequence[int] = ()
    """The tokens that end a completion. A stage uses the model's, see ``end_ids``."""
    temperature: float = 1.0
    """0 always takes the most likely token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for no limit."""
    min_p: float | None = None
    unset: Collection[str] = ()
    """What of ``NEUTRAL`` is set neither by the stage nor by the model. An endpoint's server decides it."""


def end_ids(own: int | Sequence[int] | None, tokenizer: Any) -> list[int]:
    """Return the end tokens: those of the model's ``generation_config`` and the tokenizer's, as in TRL."""
    ids = own if isinstance(own, Sequence) else [own]
    return sorted({token for token in (*ids, tokenizer.eos_token_id) if token is not None})


def positions_of(config: Any) -> int | None:
    """Return the number of positions of a model with this configuration, for prompt and completion together."""
    positions: int | None = getattr(config.get_text_config(), "max_position_embeddings", None)
    return positions


def left_out(options: Mapping[str, Any]) -> list[str]:
    """Return the options of a model's ``generation_config.json`` that would change the sampling and are ignored."""
    return sorted(name for name, neutral in _IGNORED.items() if options.get(name) not in (None, neutral))


@contextmanager
def plain_generation(model: Any) -> Iterator[None]:
    """Hide the model's own generation options from transformers' ``generate``, which would use them as defaults."""
    own = model.generation_config
    model.generation_config = type(own)(**{name: getattr(own, name, None) for name in _KEPT})
    try:
        yield
    finally:
        model.generation_config = own
