"""Sweeps: variants of one recipe, trained with the same seeds and compared with the base in pairs."""
