"""A search kept on disk: strategy, store, budget, stopping rule."""
