"""What this machine offers, and for each thing missing why and how to get it: the facts behind `bayestuner doctor`.

It tries meters, limits and settings for real and undoes what it tried; it runs no job.
"""
