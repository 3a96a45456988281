"""A model from a folder or the hub with a new head, and the subspace of a run in it."""
