"""What a job file says: its schema and reference, its parts checked, and the `Job` that comes out of them.

It reads the file and looks at this machine's CPUs and users; it starts nothing, and knows nothing of how a run goes.
"""
