"""The report of a design folder: one self-contained HTML file."""
