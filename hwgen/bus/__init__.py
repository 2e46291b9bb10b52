"""Bus signatures and adapters: AXI4-Lite towards a processor, AXI4 towards memory."""
