"""The built-in group rewards: each compares the completions of one prompt."""
