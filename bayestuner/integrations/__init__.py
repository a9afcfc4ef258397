"""BayesTuner's engine behind the interfaces of other tools: each file is one door, and imports its host only when it is imported itself.

A door may use the engine's public names and the leaves; nothing else of the package knows it.
"""
