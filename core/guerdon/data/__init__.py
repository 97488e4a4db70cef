"""What rows hold: columns by path, conversations, references, JSON values."""
