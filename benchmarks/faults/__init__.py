"""The scoreboard: the same faults against this gateway and its peers."""
