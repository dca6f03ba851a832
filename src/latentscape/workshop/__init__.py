"""The verbs on files: sounds and codes in, sounds and codes out.

Outputs keep their input's relative path and stem (``kick/01.flac`` -> ``DIR/kick/01.wav``). Nothing is overwritten
unless told: every target is checked before the first is written. Every verb returns lines that say what was written.

A verb imports the module that it needs, and nothing here imports any, so that each starts as fast as it can.
"""
