"""Read, score, summarize and compare files of completions, a chunk at a time."""
