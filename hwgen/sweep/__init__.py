"""Many runs of the command line over a space of settings, kept so that they survive anything."""
