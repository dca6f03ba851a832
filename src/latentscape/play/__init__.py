"""Play a run live: a page on the loopback, a stream of sound, and the engine between them."""

from latentscape.play.server import serve

__all__ = ["serve"]
