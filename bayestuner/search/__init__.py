"""Search strategies; all of them ask and tell the same way (`bayestuner.search.strategy.Strategy`).

`engine` holds the Bayesian `Tuner` and its parts, `strategies` the others, which are there to compare with; nothing here runs a job.
"""
