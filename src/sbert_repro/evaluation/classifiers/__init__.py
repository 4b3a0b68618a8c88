"""Classifiers on frozen sentence vectors, trained and chosen as SentEval does."""
