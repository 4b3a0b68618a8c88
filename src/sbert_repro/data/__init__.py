"""The data sets of the paper: what they are, where they come from, how they are read."""
