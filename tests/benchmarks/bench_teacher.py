"""How far the log-probabilities of a teacher at a vLLM server are from those of the same model in transformers.

    vllm serve runs/r1-mini/stages/r1/output --served-model-name teacher --dtype float32 --max-model-len 256
    python tests/benchmarks/bench_teacher.py http://localhost:8000/v1 teacher runs/r1-mini/stages/r1/output

The prompts and completions are random tokens. The table has the largest difference of the sampled token and of the most
probable ones, and how many places name other tokens as the most probable ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import click
import torch
from bench_seeds import table, versions

from guerdon import Model
from guerdon.models import load_model, load_tokenizer
from guerdon_plugins.shared.endpoint import Endpoint
from guerdon_plugins.stages.trl.teacher import Known, open_teacher

LENGTHS = ((1, 1), (3, 10), (20, 40), (60, 80))
"""The tokens of each prompt, and of its completion."""
TOP = (0, 1, 5, 20)


def compared(
    logps: Sequence[torch.Tensor], tokens: Sequence[int], known: Sequence[Known], top: int
) -> tuple[float, int]:
    """Return the largest difference over the places of a completion, and how many of them name other tokens."""
    largest, others = 0.0, 0
    for own, token, one in zip(logps, tokens, known, strict=True):
        best = own.topk(top).indices.tolist() if top else []
        values = {token: one.sampled, **one.others}
        others += set(values) != {token, *best}
        largest = max([largest, *(abs(value - float(own[other])) for other, value in values.items())])
    return largest, others


@click.command()
@click.argument("base_url")
@click.argument("name")
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
def main(base_url: str, name: str, folder: str) -> None:
    """Compare the model NAME that the server at BASE_URL serves with the one in FOLDER, in float32."""
    model = Model(name, folder)
    loaded, tokenizer = load_model(model), load_tokenizer(model)
    generator = torch.Generator().manual_seed(0)
    rows = []
    with open_teacher(Endpoint(base_url, name), model, tokenizer) as teacher, torch.no_grad():
        for top in TOP:
            prompts, completions = (
                [
                    torch.randint(len(tokenizer), (pair[part],), generator=generator).tolist()
                    for pair in LENGTHS
                ]
                for part in (0, 1)
            )
            found = [
                compared(
                    loaded(torch.tensor([prompt + completion]))
                    .logits[0, len(prompt) - 1 : -1]
                    .log_softmax(-1),
                    completion,
                    known,
                    top,
                )
                for prompt, completion, known in zip(
                    prompts, completions, teacher.logprobs(prompts, completions, top), strict=True
                )
            ]
            rows.append(
                [str(top), f"{max(one for one, _ in found):.1e}", str(sum(other for _, other in found))]
            )
    click.echo(
        f"{versions()}\n\n{table(['most probable tokens', 'largest difference', 'other tokens'], rows)}"
    )


if __name__ == "__main__":
    main()
