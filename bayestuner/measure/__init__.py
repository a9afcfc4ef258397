"""The Linux side: place a job, launch it, measure it. Knows nothing of surrogates and strategies."""
