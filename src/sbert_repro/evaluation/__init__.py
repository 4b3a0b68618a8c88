"""Tasks and how encoders are scored on them; exact search."""
