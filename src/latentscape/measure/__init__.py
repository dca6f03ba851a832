"""Named numbers with units: reconstruction, likelihood, use of the latents, spectra, paths."""
