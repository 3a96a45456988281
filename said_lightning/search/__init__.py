"""The adaptive search for d90: ask which runs to make, observe how they ended. Needs no torch."""
