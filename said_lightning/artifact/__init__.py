"""A fine-tuned model as d numbers in a file: from a run, and back into a model."""
