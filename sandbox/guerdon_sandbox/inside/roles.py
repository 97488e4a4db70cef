"""What a process of a job can be. The zygote looks a process's role up here by its name.

It needs the standard library only.
"""

from guerdon_sandbox.inside.check import check
from guerdon_sandbox.inside.program import program
from guerdon_sandbox.inside.serve import serve

__all__ = ["check", "program", "serve"]
