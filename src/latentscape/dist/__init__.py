"""Conditional distributions: likelihoods, priors, divergences. Every density is in nats."""
