"""The bytes between the roles: frames, supervisor messages, JSON, error bodies."""
