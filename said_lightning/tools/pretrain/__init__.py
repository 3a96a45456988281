"""Pre-training a small BERT on one's own text, with checkpoints to measure d90 over."""
