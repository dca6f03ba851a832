"""Paths through a latent space, and the measures of a path."""
