"""From a trained float network to a file of integers."""
