"""Runs verifiers and rewards where they can do no harm: worker processes, deadlines, a cache, a failure budget."""
