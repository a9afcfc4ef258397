"""Tables of real measurements, and the problems made of them."""
