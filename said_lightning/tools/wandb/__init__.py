"""Push offline runs to W&B, and give a project a view."""
