"""One module per family of attacks; each attack is found by name (entry points ``btard.attacks``)."""
