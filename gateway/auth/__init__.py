"""Who may connect: origin and token."""
