"""How many runs a search loses to failures where many knobs make many configurations fail: made-up servers with known truth."""
