"""Rubrics: named, weighted entries that give each rollout one reward."""

from guerdon.rubric.rubric import MAX_CACHED_SCORES, Entry, OnFailure, Rubric

__all__ = ["MAX_CACHED_SCORES", "Entry", "OnFailure", "Rubric"]
