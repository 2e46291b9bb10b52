"""What a larger project needs to take a generated design in: a core file, an instance, clock
constraints.
"""
