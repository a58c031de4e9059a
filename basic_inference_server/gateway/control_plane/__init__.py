"""Administration over HTTP: an ordinary Flask application beside the data plane."""
