"""How many sentences get through a model: order, batches, the engine."""
