"""Parts of every training by transformers and TRL: options, checkpoints, progress, errors in all processes."""
