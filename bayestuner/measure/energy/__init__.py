"""Energy meters: perf, powercap, MSR and the labelled estimate, behind one interface."""
