"""The one place that joins: configuration and corpus -> loop -> verdict -> map -> page.

A verb imports the module that it needs, and nothing here imports any: what does not train or draw starts at once.
"""
