"""Run a plan: stages in order, each at most once, each resumed after an interruption."""

from guerdon.run.execution import execute
from guerdon.run.files import check_run_folder
from guerdon.run.ranks import Ranks, launch_ranks
from guerdon.run.signals import stopping_on_signals

__all__ = ["Ranks", "check_run_folder", "execute", "launch_ranks", "stopping_on_signals"]
