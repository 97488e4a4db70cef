"""guerdon's verifiers, rewards and rubrics inside other trainers: one module for each trainer.

Each takes a rubric by name (a manifest's, or a single plugin) and gives what its trainer calls. What judges is the
engine that ``guerdon run`` uses: worker processes, deadlines, cache, failure budget. No module imports its trainer
before it is called.
"""
