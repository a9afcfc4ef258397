"""How good a recommendation is where runs are noisy, and what is told of the noise is right, wrong, or nothing."""
