"""Rubrics: named, weighted entries that give each rollout one reward."""

from guerdon.rubric.entry import Entry, FirstOf
from guerdon.rubric.rubric import MAX_CACHED_SCORES, Rubric, groups_for
from guerdon.types import OnFailure

__all__ = ["MAX_CACHED_SCORES", "Entry", "FirstOf", "OnFailure", "Rubric", "groups_for"]
