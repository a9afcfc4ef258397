"""The command line: one file per subcommand, progress on the terminal, exit codes, JSON forms.

It reads arguments, calls the rooms below and prints what they return; it decides nothing about a search or a measurement.
"""
