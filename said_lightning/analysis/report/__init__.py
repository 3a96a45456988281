"""The report of a study as one file: HTML with plots, Markdown, CSV or LaTeX."""
