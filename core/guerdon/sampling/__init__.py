"""How completions are drawn, and a loop that draws them on CPU."""
