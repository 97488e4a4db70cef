"""Rubrics: named, weighted entries that give each rollout one reward."""

from guerdon.rubric.entry import Entry, FirstOf
from guerdon.rubric.rubric import MAX_CACHED_SCORES, Rubric
from guerdon.types import OnFailure

__all__ = ["MAX_CACHED_SCORES", "Entry", "FirstOf", "OnFailure", "Rubric"]
