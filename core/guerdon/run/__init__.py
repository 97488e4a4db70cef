"""Runs a plan: stages in order, each at most once, each resumed where a killed run left it."""

from guerdon.run.executor import execute
from guerdon.run.ranks import Ranks, launch_ranks

__all__ = ["Ranks", "execute", "launch_ranks"]
