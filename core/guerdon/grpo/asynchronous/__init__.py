"""GRPO on TRL's asynchronous trainer: a vLLM server samples while the trainer updates the policy."""

import os

# TRL's notice that the trainer is experimental is for those who import it; the stage's page says it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
