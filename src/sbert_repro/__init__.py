"""Sentence-BERT (Reimers & Gurevych, EMNLP 2019), replicated: every table from one command."""
