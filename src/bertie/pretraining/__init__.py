"""Pretraining: from documents to token shards, examples made from them, and a BERT of your own."""
