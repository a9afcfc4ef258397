"""What earlier studies are worth to a new one, and what they cost where they mislead: searches with and without them on tables."""
