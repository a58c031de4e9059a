"""One endpoint's server: a gunicorn master and its pulling workers."""
