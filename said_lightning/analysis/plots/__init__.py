"""The plots, each defined once: for d90.png and d90.svg, for the report and for the board."""
