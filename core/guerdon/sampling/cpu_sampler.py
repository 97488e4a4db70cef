"""Sample completions of small models on CPU, where most of `generate`'s time is overhead.

A group's prompt is prefilled once. The key-value cache is one tensor of fixed size. Finished completions free their
slots for the next ones, and each layer is a few calls. The distribution is that of transformers' sampling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, torch's own custom
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from guerdon.sampling.architectures import decoder_obstacle
from guerdon.sampling.sampling import Sampling

_CACHE_BYTES = 2 * 1024**3
"""The most bytes of keys and values. Completions that do not fit wait for a slot."""
_WORTH_COMPACTING = 0.75
"""Finished completions are moved out of the batch when at most this share of it is unfinished."""
_PREFILL_TOKENS = 8192
"""Prompts are prefilled in batches of about this many tokens."""


class LogitsNotFiniteError(ArithmeticError):
    """The model's logits are NaN or infinite, so no token can be drawn."""


def _warpers(sampling: Sampling) -> LogitsProcessorList:
    """Return transformers' logits processors, in the order of its sampling."""
    warpers = LogitsProcessorList()
    if sampling.temperature not in (0.0, 1.0):
        warpers.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p is not None:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    return warpers


def obstacle(model: nn.Module) -> str | None:
    """Return why ``sample`` cannot run the model, or ``None`` if it can."""
    if not isinstance(model, PreTrainedModel):
        return f"it is wrapped in a {type(model).__name__}"
    config = model.config
    if (reason := decoder_obstacle(config)) is not None:
        return reason
    if model.device.type != "cpu":
        return f"it is on {model.device.type}"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}, not silu"
    backbone: Any = model.get_submodule("model.layers")
    projections = (module for name, module in backbone.named_modules() if name.endswith("_proj"))
    if any(type(module) is not nn.Linear for module in projections):
        return "its linear layers are adapted or quantized"
    return None


Finished: TypeAlias = Callable[[int, list[int]], None]
"""Takes the number of a prompt and its completion's token ids, while others are sampled."""


def not_awaited(number: int, ids: list[int]) -> None:
    """Take a completion that is read at the end."""


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    finished: Finished = not_awaited,
) -> list[list[int]]:
    """Sample one completion for each prompt.

    Equal prompts are computed once, so a group costs one prefill. The draws come from torch's global generator.

    Args:
        model: A model for which ``obstacle`` returns ``None``.
        prompts: Token ids, at least one in each.
        sampling: How tokens are drawn. A completion also ends when the model has no position left.
        finished: Gets each completion as soon as it ends. It must draw nothing from torch's generator.

    Returns:
        The completions' token ids, in the order of the prompts, each up to and including its end token, or truncated.

    Raises:
        LogitsNotFiniteError: The model's logits are NaN or infinite.
    """
    return _Batch(_Decoder(model), prompts, sampling, finished).run()


class _Layer:
    """One decoder layer's weights, arranged for few and large products."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        # The norm's gain is multiplied into the next matrix.
        self.qkv = torch.cat([p.weight for p in projections]) * layer.input_layernorm.weight
        biases = [p.bias for p in projections]
        self.qkv_bias = None if biases[0] is None else torch.cat(biases)
        self.q_norm = getattr(attention, "q_norm", None)
        self.k_norm = getattr(attention, "k_norm", None)
        self.out, self.out_bias = attention.o_proj.weight, attention.o_proj.bias
        self.gate_up = (
            torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight
        )
        self.gate_up_bias = (
            None if mlp.gate_proj.bias is None else torch.cat([mlp.gate_proj.bias, mlp.up_proj.bias])
        )
        self.down, self.down_bias = mlp.down_proj.weight, mlp.down_proj.bias


class _Decoder:
    """The forward pass over tokens whose keys and values are added to a cache."""

    def __init__(self, model: PreTrainedModel) -> None:
        backbone: Any = model.get_submodule("model")
        config = model.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.positions = config.max_position_embeddings
        self.epsilon = config.rms_norm_eps
        self.embedding: Tensor = backbone.embed_tokens.weight
        self.layers = [_Layer(layer) for layer in backbone.layers]
        self.rotary = backbone.rotary_emb
        head: Any = model.get_submodule("lm_head")
        self.head = head.weight * backbone.norm.weight
        self.head_bias = head.bias

    def rotations(self, length: int) -> tuple[Tensor, Tensor]:
        """Return cosines and sines of the positions 0 to ``length`` - 1, each [length, head_dim]."""
        cos, sin = self.rotary(self.embedding[:1], torch.arange(length)[None])
        return cos[0], sin[0]

    def new_cache(self, slots: int, length: int) -> Tensor:
        """Return memory for keys and values: [layers, 2, slots, kv_heads, length, head_dim]."""
        shape = (len(self.layers), 2, slots, self.kv_heads, length, self.head_dim)
        return torch.zeros(shape, dtype=self.embedding.dtype)

    def prefill(self, tokens: Tensor, lengths: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits after the last token of each prompt [prompts, vocabulary], and the prompts' cache.

        Args:
            tokens: [prompts, longest], padded on the right, where causal attention cannot see the padding.
            lengths: [prompts].
            cos: Of all positions.
            sin: Of all positions.
        """
        count, longest = tokens.shape
        cache = self.new_cache(count, longest)
        hidden = self.embedding[tokens]
        cos, sin = cos[:longest, None], sin[:longest, None]  # a dimension for the heads
        for number, layer in enumerate(self.layers):
            query, key, value = self._project(layer, hidden, cos, sin)
            key, value = key.transpose(1, 2), value.transpose(1, 2)
            cache[number, 0], cache[number, 1] = key, value
            mixed = F.scaled_dot_product_attention(
                query.transpose(1, 2), key, value, is_causal=True, enable_gqa=self.heads != self.kv_heads
            )
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2))
        return self._logits(hidden[torch.arange(count), lengths - 1]), cache

    def step(self, tokens: Tensor, positions: Tensor, cache: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Return logits after one more token of each slot [slots, vocabulary], and add to the cache.

        Args:
            tokens: [slots].
            positions: [slots], the position of each slot's token.
            cache: As from ``new_cache``.
            cos: Of all positions.
            sin: Of all positions.
        """
        slots = torch.arange(len(tokens))
        length = int(positions.max()) + 1
        visible = (torch.arange(length) <= positions[:, None])[:, None, None]
        hidden = self.embedding[tokens]
        cos, sin = cos[positions][:, None], sin[positions][:, None]
        for number, layer in enumerate(self.layers):
            query, key, value = self._project(layer, hidden, cos, sin)
            keys, values = cache[number, 0], cache[number, 1]
            keys[slots, :, positions] = key
            values[slots, :, positions] = value
            # The query heads of a key head use the dimension of query positions, so no key is repeated.
            grouped = query.view(len(tokens), self.kv_heads, -1, self.head_dim)
            mixed = F.scaled_dot_product_attention(
                grouped, keys[:, :, :length], values[:, :, :length], attn_mask=visible
            )
            hidden = self._finish(layer, hidden, mixed)
        return self._logits(hidden)

    def _project(
        self, layer: _Layer, hidden: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys, and values: [..., heads, head_dim] each."""
        joint = F.linear(self._norm(hidden), layer.qkv, layer.qkv_bias)
        by_head = joint.view(*joint.shape[:-1], -1, self.head_dim)
        query, key, value = torch.split(by_head, [self.heads, self.kv_heads, self.kv_heads], dim=-2)
        if layer.q_norm is not None and layer.k_norm is not None:
            query, key = layer.q_norm(query), layer.k_norm(key)
        return _rotate(query, cos, sin), _rotate(key, cos, sin), value

    def _finish(self, layer: _Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = hidden + F.linear(mixed.reshape(*hidden.shape[:-1], -1), layer.out, layer.out_bias)
        gate, up = F.linear(self._norm(hidden), layer.gate_up, layer.gate_up_bias).chunk(2, dim=-1)
        return hidden + F.linear(F.silu(gate) * up, layer.down, layer.down_bias)

    def _norm(self, hidden: Tensor) -> Tensor:
        return F.rms_norm(hidden, hidden.shape[-1:], eps=self.epsilon)

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(self._norm(hidden), self.head, self.head_bias).float()


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


class _Batch:
    """Unfinished completions: those with a slot in the cache, and those that wait for one."""

    def __init__(
        self,
        decoder: _Decoder,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        finished: Finished = not_awaited,
    ) -> None:
        self._decoder = decoder
        self._report = finished
        self._sampling = sampling
        self._warp: Any = _warpers(sampling)
        self._prompts = prompts
        self._most = [
            min(sampling.max_completion_length, decoder.positions - len(prompt)) for prompt in prompts
        ]
        self._length = max(
            len(prompt) + max(most, 0) for prompt, most in zip(prompts, self._most, strict=True)
        )
        self._cos, self._sin = decoder.rotations(self._length)
        self._completions: list[list[int]] = [[] for _ in prompts]
        # Equal prompts are adjacent, so that they share a prefill even if the batch does not fit.
        places = (row for row, most in enumerate(self._most) if most > 0)
        self._waiting = sorted(places, key=lambda row: (tuple(prompts[row]), row), reverse=True)
        per_slot = decoder.new_cache(1, 1).nbytes * self._length
        self._slots = max(1, min(len(prompts), _CACHE_BYTES // per_slot))
        self._cache = decoder.new_cache(self._slots, self._length)
        self._rows: list[int] = []  # the completion in each slot
        self._tokens = torch.zeros(0, dtype=torch.long)
        self._positions = torch.zeros(0, dtype=torch.long)

    def run(self) -> list[list[int]]:
        while self._waiting or self._rows:
            self._refill()
            if self._rows:
                logits = self._decoder.step(
                    self._tokens, self._positions, self._cache[:, :, : len(self._rows)], self._cos, self._sin
                )
                self._tokens = self._draw(logits)
                # A finished completion that still has its slot may run to the end of the cache.
                self._positions = (self._positions + 1).clamp(max=self._length - 1)
                self._take()
        return self._completions

    def _refill(self) -> None:
        """Prefill as many waiting completions as there are free slots, and draw their first tokens."""
        while self._waiting and len(self._rows) < self._slots:
            budget = self._slots - len(self._rows)
            rows: list[int] = []
            distinct: dict[tuple[int, ...], int] = {}
            longest = 0
            while self._waiting and len(rows) < budget:
                prompt = tuple(self._prompts[self._waiting[-1]])
                longest = max(longest, len(prompt))
                if prompt not in distinct and distinct and (len(distinct) + 1) * longest > _PREFILL_TOKENS:
                    break
                distinct.setdefault(prompt, len(distinct))
                rows.append(self._waiting.pop())
            self._prefill(rows, distinct)

    def _prefill(self, rows: list[int], distinct: dict[tuple[int, ...], int]) -> None:
        lengths = torch.tensor([len(prompt) for prompt in distinct])
        tokens = torch.zeros(len(distinct), int(lengths.max()), dtype=torch.long)
        for number, prompt in enumerate(distinct):
            tokens[number, : len(prompt)] = torch.tensor(prompt)
        logits, cache = self._decoder.prefill(tokens, lengths, self._cos, self._sin)
        source = torch.tensor([distinct[tuple(self._prompts[row])] for row in rows])
        start = len(self._rows)
        self._cache[:, :, start : start + len(rows), :, : tokens.shape[1]] = cache[:, :, source]
        self._rows += rows
        self._tokens = torch.cat([self._tokens, self._draw(logits[source])])
        self._positions = torch.cat([self._positions, lengths[source]])
        self._take(start)

    def _draw(self, logits: Tensor) -> Tensor:
        """Draw one token for each row of logits, by the inverse of the distribution function."""
        if self._sampling.temperature == 0:
            top, tokens = logits.max(dim=-1)
            _check_finite(top)
            return tokens
        scores = self._warp(None, logits)  # these processors do not read the previous tokens
        cumulative = torch.softmax(scores, dim=-1).cumsum(dim=-1)
        total = cumulative[:, -1:]
        _check_finite(total)
        target = torch.rand(len(logits), 1) * total
        # Rounding may reach the total.
        target = torch.minimum(target, torch.nextafter(total, torch.zeros(())))
        return torch.searchsorted(cumulative, target, right=True)[:, 0]

    def _take(self, start: int = 0) -> None:
        """Append the drawn tokens from slot ``start`` on, and free the slots of finished completions."""
        for row, token in zip(self._rows[start:], self._tokens[start:].tolist(), strict=True):
            if not self._finished(row):
                self._completions[row].append(token)
                if self._finished(row):
                    self._report(row, self._completions[row])
        unfinished = [slot for slot, row in enumerate(self._rows) if not self._finished(row)]
        enough = len(unfinished) > _WORTH_COMPACTING * len(self._rows)
        if len(unfinished) == len(self._rows) or (enough and not self._waiting):
            return
        keep = self._compact(unfinished)
        self._rows = [self._rows[slot] for slot in keep]
        self._tokens, self._positions = self._tokens[keep], self._positions[keep]

    def _compact(self, unfinished: list[int]) -> list[int]:
        """Move unfinished completions from the end of the batch into the gaps; no other one is copied.

        With four of seven slots unfinished (letters), the first four slots are kept::

            slot      0 1 2 3 4 5 6
            before    a . b . . c d      unfinished  [0, 2, 5, 6]
            gaps        1   3            finished slots among the first four
            movers              5 6      unfinished slots behind them
            after     a c b d            keep        [0, 5, 2, 6]

        Returns:
            For each slot that is kept, the slot whose completion is in it now.
        """
        count = len(unfinished)
        keep = list(range(count))
        gaps = sorted(set(keep) - set(unfinished))
        movers = [slot for slot in unfinished if slot >= count]
        for gap, mover in zip(gaps, movers, strict=True):
            keep[gap] = mover
        used = int(self._positions.max()) + 1
        self._cache[:, :, gaps, :, :used] = self._cache[:, :, movers, :, :used]
        return keep

    def _finished(self, row: int) -> bool:
        completion = self._completions[row]
        return len(completion) == self._most[row] or (
            bool(completion) and completion[-1] in self._sampling.eos_token_ids
        )


def _check_finite(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise LogitsNotFiniteError("the model's logits are NaN or infinite")


class FiniteLogits(LogitsProcessor):
    """Records in transformers' ``generate`` whether all logits are finite, without waiting for the device."""

    def __init__(self) -> None:
        self._bad: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        bad = scores.amax(-1, keepdim=True).isfinite().logical_not()
        any_bad = bad.any()
        self._bad = any_bad if self._bad is None else self._bad | any_bad
        return scores.masked_fill(bad, 0.0)  # multinomial would otherwise end the process on a GPU

    def check(self) -> None:
        """Raise if some were not.

        Raises:
            LogitsNotFiniteError: Some were not.
        """
        if self._bad is not None and bool(self._bad):
            raise LogitsNotFiniteError("the model's logits are NaN or infinite")
