"""What an endpoint author subclasses, and how it is found, checked and executed."""
