"""Other tuners beside ours, on identical work: suggestions' speed, and runs for the search-quality report."""
