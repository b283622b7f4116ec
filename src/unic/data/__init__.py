"""Images: the sources that read them (`sources`), their augmented views (`augment`) and batches (`loader`)."""
