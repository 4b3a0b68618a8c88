"""What costs how much, ours beside the usual way, both measured in one run."""
