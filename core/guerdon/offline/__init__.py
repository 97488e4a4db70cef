"""Work on files of completions: read, score, summarize and compare them, a chunk at a time."""
