"""Tar shards of images: how they are written, read and indexed."""
