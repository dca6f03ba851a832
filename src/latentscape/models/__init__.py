"""Models: p(x, z | c) with its recognition model, and the objectives that train them."""
