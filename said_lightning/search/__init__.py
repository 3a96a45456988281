"""The adaptive search for d90: ask which runs to make, tell how they ended. Needs no torch."""
