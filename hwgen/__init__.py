"""hwgen: a trained convolutional network to multiplierless Verilog, checked bit for bit."""

__version__ = "0.1.0"
