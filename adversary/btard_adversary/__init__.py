"""Attacks on the protocol, for testing it: whoever wants to break it starts here."""
