"""Corpora: what is in a folder of sounds, how it is split, cached, augmented and cut into batches."""
