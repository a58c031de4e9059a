"""What every role may know: errors, settings, clock, logs, topology, scoreboard."""
