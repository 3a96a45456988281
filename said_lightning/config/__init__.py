"""The config of a run: schema, validation, composition of a command, and identity."""
