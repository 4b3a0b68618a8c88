"""Networks that give a state to each word piece."""
