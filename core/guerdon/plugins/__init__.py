"""Find, load and build plugins, and attribute their errors."""
