"""Distillation: frozen teachers → standardised targets → student, ladders, losses, weighting → one plain loop."""
