"""Oracles: whether a run, or an implementation, did what the specification says. Here the offline audit of logs."""
