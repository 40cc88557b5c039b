"""One live client: its order, limits, effects and the two wires."""
