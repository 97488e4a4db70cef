"""Runs a plan: stages in order, each at most once, each resumed where a killed run left it."""

from guerdon.run.executor import execute
from guerdon.run.preflight import Finding, preflight
from guerdon.run.ranks import Ranks, launch_ranks

__all__ = ["Finding", "Ranks", "execute", "launch_ranks", "preflight"]
