"""Read what rows hold: columns by path, conversations, references and JSON values."""
