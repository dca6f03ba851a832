"""latentscape: a folder of sounds becomes a space you can travel through."""

__version__ = "0.1.0"
