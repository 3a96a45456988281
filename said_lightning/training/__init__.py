"""From a command to finished runs: checks, jobs, the LightningModule and its callbacks."""
