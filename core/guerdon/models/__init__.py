"""Find and load models."""

from guerdon.models.loading import (
    is_narrow,
    load_config,
    load_model,
    load_process_reward_model,
    load_reward_model,
    load_tokenizer,
    local_device,
    resolve_folder,
    use_fitting_threads,
)

__all__ = [
    "is_narrow",
    "load_config",
    "load_model",
    "load_process_reward_model",
    "load_reward_model",
    "load_tokenizer",
    "local_device",
    "resolve_folder",
    "use_fitting_threads",
]
