"""Synthesis, place and route, and board tops."""
