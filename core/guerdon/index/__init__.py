"""The index of a run's rollouts and metrics: a SQLite file in the user's cache that answers the viewer's questions.

The index is only a copy. It grows with the run's files, never changes them, and is built again if it is lost, damaged
or of another version.
"""

from guerdon.index.building import Growth, grow, grow_fully
from guerdon.index.filters import Filters
from guerdon.index.store import RunIndex

__all__ = ["Filters", "Growth", "RunIndex", "grow", "grow_fully"]
