"""gunicorn's pre-fork master as we use it: sockets from outside, our log, our reaping."""
