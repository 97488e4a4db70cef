"""Rubrics: named, weighted entries that make one reward of a rollout."""

from guerdon.rubric.rubric import MAX_CACHED_SCORES, Entry, OnFailure, Rubric

__all__ = ["MAX_CACHED_SCORES", "Entry", "OnFailure", "Rubric"]
