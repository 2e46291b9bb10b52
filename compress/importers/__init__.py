"""From other tools' models to one float graph."""
