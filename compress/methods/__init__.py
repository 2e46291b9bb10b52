"""Compression methods, one a file: arrays and options in, a frozen result out."""
