"""One test run from a configuration to its outcome: placed, launched, warmed up, watched, measured, stopped and judged.

It uses every other room of `measure` but `doctor`; whatever it starts or sets is ended and put back before it returns.
"""
