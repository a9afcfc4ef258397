"""Search strategies; all of them ask and tell the same way (`bayestuner.search.strategy.Strategy`)."""
