"""A small language whose sentences have a known meaning; the demo's data sets are made of it."""
