"""``report.html``: all that is known of a design, as one page that needs nothing else."""
