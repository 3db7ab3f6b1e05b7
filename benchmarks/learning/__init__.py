"""The learning results: every family beside its controls, on three training seeds, from one command."""
