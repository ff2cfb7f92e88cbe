"""Drivers: what carries the requests of protocol generators between peers. Here the simulator of a whole swarm."""
