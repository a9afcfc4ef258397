"""Search quality on tables of measurements: how far from the optimum a tuner is after so many runs."""
