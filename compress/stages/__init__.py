"""From a float graph to integer weights, a step a file: ``rewrite`` (linear features), ``support``
(which weights may stay, and their best values), ``coding`` (integers), ``build`` (all of them).
"""
