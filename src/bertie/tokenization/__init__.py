"""Text to ids and back: the fast tokenizer, the readable one, and what they share."""
