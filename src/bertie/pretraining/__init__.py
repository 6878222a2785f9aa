"""From documents to a BERT of one's own: token shards, examples made of them, and the run that learns from them."""
