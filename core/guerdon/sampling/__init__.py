"""How completions are sampled, and a sampling loop for CPU."""
