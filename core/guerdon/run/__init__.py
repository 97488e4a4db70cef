"""Runs a plan: stages in order, each at most once, each resumed where a killed run left it."""

from guerdon.run.executor import execute
from guerdon.run.preflight import Finding, preflight

__all__ = ["Finding", "execute", "preflight"]
