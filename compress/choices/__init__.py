"""What ``--method`` may say: a method a file, its text and the frozen choice that it makes; and
``plan``, which puts the methods of one run together.
"""
