"""A search that survives its process: the store on disk, the strategy replayed from it, and the summary of what it came to.

It knows strategies and files; it starts no job and reads no machine.
"""
