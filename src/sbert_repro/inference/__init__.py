"""Fast inference: batches, the engines that compute them, vectors streamed to disk."""
