"""Programs beside the main job: pre-training, step times and W&B."""
