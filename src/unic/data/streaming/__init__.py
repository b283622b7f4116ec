"""Streamed sets: images on the web or on the Hugging Face hub, of which only some pieces are on the disk at a time."""
