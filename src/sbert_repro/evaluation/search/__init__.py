"""Which vectors are closest: exact search in blocks, pairs, an index on disk."""
