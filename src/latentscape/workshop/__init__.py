"""The verbs on files: sounds and codes in, sounds and codes out.

Outputs keep their input's relative path and stem (``kick/01.flac`` -> ``DIR/kick/01.wav``). Nothing is overwritten
unless told: every target is checked before the first is written. Every verb returns lines that say what was written.
"""

from latentscape.workshop.codes import decode, encode, reconstruct
from latentscape.workshop.draw import Drawing, sample, temperatures
from latentscape.workshop.making import Making, labels_of
from latentscape.workshop.mend import inpaint, refine
from latentscape.workshop.restyle import Restyling, restyle_file
from latentscape.workshop.tag import Way as Imagining
from latentscape.workshop.tag import find, imagined, listen, tag
from latentscape.workshop.travel import Way, morph, walk

__all__ = [
    "Drawing",
    "Imagining",
    "Making",
    "Restyling",
    "Way",
    "decode",
    "encode",
    "find",
    "imagined",
    "inpaint",
    "labels_of",
    "listen",
    "morph",
    "reconstruct",
    "refine",
    "restyle_file",
    "sample",
    "tag",
    "temperatures",
    "walk",
]
