"""Training: tasks and models with reproducible gradients, and the trainer that makes a run directory of a swarm."""
