"""Give a vLLM server the policy's weights as files, for machines without NCCL between the trainer and the server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import requests
import torch
from safetensors.torch import save_file
from trl.experimental.async_grpo.vllm_client import VLLMClient

_FILE_BYTES = 4 << 30
"""The size from which on a file is closed and the next one begins."""


class FolderWeightTransfer:
    """Writes each version of the weights to a folder, from which the server reloads them.

    It has the methods of TRL's ``WeightTransferProtocol``.

    Args:
        client: TRL's client of the server.
        folder: The folder. The server must see it under the same path.
        timeout_s: Seconds that the server has to read the weights.
    """

    def __init__(self, client: VLLMClient, folder: Path, timeout_s: float) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._timeout_s = timeout_s
        self._version = 0

    def init_weight_transfer(self) -> None:
        """Delete the weights of an earlier attempt."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """Let the server hold its requests."""
        self._client.pause()

    def send_weights(self, iterator: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Write the weights, let the server read them, and delete the last ones.

        Args:
            iterator: The names of a checkpoint, with the weights.

        Raises:
            requests.RequestException: The server does not answer, or cannot read the weights.
        """
        last, self._version = self._version, self._version + 1
        folder = self._folder / str(self._version)
        folder.mkdir(parents=True)
        write_weights(folder, iterator)
        self._post("collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}})
        self._post("reset_prefix_cache", {})  # it holds prompts as the last weights read them
        shutil.rmtree(self._folder / str(last), ignore_errors=True)

    def resume(self) -> None:
        """Let the server sample again."""
        self._client.resume()

    def destroy(self) -> None:
        """Delete the weights."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _post(self, path: str, body: dict[str, object]) -> None:
        requests.post(
            f"{self._client.server_url}/{path}", json=body, timeout=self._timeout_s
        ).raise_for_status()


def write_weights(folder: Path, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
    """Write weights as safetensors files of a few gigabytes, so that they are never all in memory."""
    held: dict[str, torch.Tensor] = {}
    size = number = 0
    for name, tensor in weights:
        held[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
        if size >= _FILE_BYTES:
            save_file(held, folder / f"weights-{number:05}.safetensors")
            held, size, number = {}, 0, number + 1
    if held:
        save_file(held, folder / f"weights-{number:05}.safetensors")
