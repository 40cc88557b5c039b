"""The clocks the gateway reads, so that tests can move them."""
