"""How fast things are: ours beside the usual way, measured in turns in one run on one machine."""
