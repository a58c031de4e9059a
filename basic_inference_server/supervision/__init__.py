"""The only code that starts, watches, restarts and stops processes."""
