"""The roles of a job's processes, which the zygote looks up by name.

It needs only the standard library.
"""

from guerdon_sandbox.inside.check import check
from guerdon_sandbox.inside.program import program
from guerdon_sandbox.inside.serve import serve

__all__ = ["check", "program", "serve"]
