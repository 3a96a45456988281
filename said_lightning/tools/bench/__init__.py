"""Ways to fine-tune, side by side: time of a step and peak memory, measured in one run."""
