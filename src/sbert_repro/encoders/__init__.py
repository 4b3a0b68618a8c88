"""Sentence encoders: whatever turns sentences into vectors, or pairs into scores."""
