"""One path from an encoder and a task to its scores."""
