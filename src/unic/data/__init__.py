"""Images: where they are read from (`sources`), the augmented view of each (`augment`), batches of them (`loader`)."""
