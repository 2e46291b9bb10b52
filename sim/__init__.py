"""The golden model, the test benches, the comparison and the proof."""
