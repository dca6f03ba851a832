"""Networks without opinions: multi-layer perceptrons, convolution stacks, and their configuration records."""
