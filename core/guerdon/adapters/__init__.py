"""Use guerdon's verifiers, rewards and rubrics in other trainers: one module for each trainer.

Each module takes a rubric by name (a manifest, or a single plugin) and returns a callable for its trainer. Scoring uses
the engine of ``guerdon run``: worker processes, deadlines, cache, failure budget. No module imports its trainer before
it is called.
"""
