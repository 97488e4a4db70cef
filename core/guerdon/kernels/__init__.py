"""The GRPO loss on hidden states: the language-model head and the loss together, without storing all logits.

``backend="torch"`` is the implementation for CPU and the reference of the tests; ``"triton"`` is for CUDA GPUs.
"""

from guerdon.kernels.linear_loss import LossResult, fused_linear_grpo_loss
from guerdon.kernels.objective import LossSpec, Tokens, TokenTerms, token_terms
from guerdon.kernels.sequences import Sequences

__all__ = [
    "LossResult",
    "LossSpec",
    "Sequences",
    "TokenTerms",
    "Tokens",
    "fused_linear_grpo_loss",
    "token_terms",
]
