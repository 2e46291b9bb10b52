"""The streaming engine: a component per kind of layer, the plan, the whole network."""
