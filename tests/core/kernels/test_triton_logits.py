"""The Triton kernels without a GPU: compiled for cards, and run in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed; it comes with torch on Linux with CUDA")

SCRIPT = """
import itertools, torch
from guerdon.kernels import LossSpec, Tokens, fused_linear_grpo_loss

torch.manual_seed(0)
worst = {1.0: 0.0, 1e4: 0.0}
for (vocabulary, masked), scales, bonus, size in itertools.product(
    ((33, False), (4096, False), (5000, False), (5000, True)),
    ({}, {"temperature": 0.7, "logit_scale": 1.3, "softcap": 3.0}),
    (False, True),
    (1.0, 1e4),
):
    states = (size * torch.randn(6, 5)).requires_grad_()
    weight = torch.randn(vocabulary, 5).requires_grad_()
    target = torch.randint(vocabulary // 7, (6,)) * 7 + 1
    bias = torch.zeros(vocabulary)
    if masked:
        bias[::7] = float("-inf")
    tokens = Tokens(
        torch.randn(6), torch.rand(6), torch.zeros(6, dtype=torch.long), entropy_weight=torch.rand(6) if bonus else None
    )
    outputs = []
    for backend in ("torch", "triton"):
        result = fused_linear_grpo_loss(states, weight, target, tokens, LossSpec(**scales), bias=bias, backend=backend)
        outputs.append([*result, *torch.autograd.grad(result.loss, (states, weight))])
    for ours, oracle in zip(*outputs):
        assert torch.isfinite(ours).all()
        error = (ours - oracle).detach().abs().max() / oracle.detach().abs().max().clamp(min=1e-6)
        worst[size] = max(worst[size], float(error))
assert worst[1.0] < 5e-6 and worst[1e4] < 1e-4, worst
"""


def test_the_interpreter_gives_the_rows_of_the_torch_path() -> None:
    # The interpreter is chosen when the kernels are defined, so they are defined in a process of their own.
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("capability", "dtype"), [(75, "fp16"), (80, "bf16"), (90, "bf16"), (90, "fp32"), (100, "bf16")]
)
def test_kernels_compile_for_cards(capability: int, dtype: str) -> None:
    """Triton's compiler needs no card. The interpreter accepts kernels that it refuses."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from guerdon.kernels import triton_logits

    types = {"logits_ptr": f"*{dtype}", "target_ptr": "*i64", "columns": "i32"}
    types |= dict.fromkeys(("scale", "cap", "inverse_temperature"), "fp32")
    types |= dict.fromkeys(("logp_ptr", "entropy_ptr", "norm_ptr", "by_logp_ptr", "by_entropy_ptr"), "*fp32")
    constants = {"has_cap": True, "has_entropy": True, "least": -1e3, "block": 4096}
    for kernel in (triton_logits._stats_kernel, triton_logits._gradient_kernel):
        names = kernel.arg_names
        source = ASTSource(
            kernel,
            signature={name: types.get(name, "constexpr") for name in names},
            constexprs={(names.index(name),): value for name, value in constants.items() if name in names},
        )
        made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 8})
        assert made.asm["cubin"]
