"""The YAML file: its models, how it is read, and what is generated from it."""
