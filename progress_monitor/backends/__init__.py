"""Where requests are answered: in a worker process, in this one, or by a server."""
