"""Which failure closes or answers with which code; decided here and nowhere else."""
