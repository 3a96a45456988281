"""The d trained numbers of a model, the weights that they move, and their learning rate."""
