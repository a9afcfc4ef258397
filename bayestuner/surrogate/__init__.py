"""The Gaussian process: covariance, posterior, hyperparameter fit, viability."""
