"""``harbor``: task folders of Harbor and terminal-bench, as rows of the environment ``shell``."""

from guerdon_plugins.sources.harbor.source import Harbor

__all__ = ["Harbor"]
