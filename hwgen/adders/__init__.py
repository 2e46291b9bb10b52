"""A constant matrix as a shared shift-and-add graph, and its schedule."""
