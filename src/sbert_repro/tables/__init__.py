"""The paper's tables: what stands in them, what has to be run, and how they are printed."""
