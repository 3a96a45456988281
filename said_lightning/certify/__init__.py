"""Certificates: a run as a short message, and the error that its length and train error bound."""
