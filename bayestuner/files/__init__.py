"""The one door to folders and files that are believed, and to outputs that must be whole.

What lies in a cache, a journal or a study is acted upon: machine code is run, settings are written, SQLite deletes what a journal names.
So every room opens such places here and nowhere else, by one rule, which `rule` states. The room is a leaf: all may import it, and it knows
of nothing but the file system.
"""
