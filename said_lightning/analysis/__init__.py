"""d90 from the records of runs: estimator, interval, table, plot and report. Needs no torch."""
