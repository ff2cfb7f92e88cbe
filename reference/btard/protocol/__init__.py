"""The protocol, pure: no input or output, no clock, no randomness of its own. One module per chapter of ``spec/``."""
