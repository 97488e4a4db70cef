"""What every training by transformers and TRL shares: options, checkpoints, progress, errors in all processes."""
