"""Training: of reference networks, on the integer forward pass, under masks, layer by layer."""
