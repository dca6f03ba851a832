"""Restyling: a sound that goes the way of one and sounds like another."""
