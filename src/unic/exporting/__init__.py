"""What a finished student is written as, one module per format; every one of them loads without this package."""
