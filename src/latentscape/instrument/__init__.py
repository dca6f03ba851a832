"""A loaded run: encode, decode, render paths to sound, the latent map."""
