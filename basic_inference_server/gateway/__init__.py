"""The front: accepts client requests, picks a server, forwards, answers."""
