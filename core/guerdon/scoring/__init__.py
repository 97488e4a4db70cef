"""Run verifiers and rewards in isolation: worker processes, deadlines, a cache and a failure budget."""
