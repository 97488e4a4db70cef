"""``python -m guerdon_sandbox``: the commands of ``guerdon sandbox``, without the rest of guerdon."""

from guerdon_sandbox.cli import sandbox

sandbox(prog_name="python -m guerdon_sandbox")
