"""What results look like to people: tables, numbers with their units, the closing page of a study.

It reads summaries and records and returns text; it measures nothing, changes nothing and prints nothing.
"""
