"""Tasks with an owner and a name."""
