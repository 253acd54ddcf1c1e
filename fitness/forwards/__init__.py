"""Ways to run a base model with a population's adapters."""
