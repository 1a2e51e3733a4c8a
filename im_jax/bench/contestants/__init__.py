"""The programs that are timed. Each module is loaded only in a worker, with the libraries that it needs."""
