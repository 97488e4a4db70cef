"""The HTML report of a run: what each stage did, what it gained, and why a rollout got its reward."""
