"""Families of generated images, one file each: images that nobody took, for a student that has too few of its own.

A family is a module with a function `draw(random, size, *, …options)`, which returns one image. It draws every number
from `random` and reads nothing else, so an image is a function of the source's seed and the image's index. The options
that may follow a family's name in a path are the keyword-only parameters of its `draw`. A family of one's own is a
dotted module (`generated:my_lab.checkers?images=1000`).
"""
