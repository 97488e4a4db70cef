"""``sql``: check that a query gives the rows of the gold query."""

from guerdon_plugins.verifiers.sql.verifier import Sql

__all__ = ["Sql"]
