"""Schemes of encoder URIs, one file each, with `load(spec) -> Encoder`; `own_size(spec)` is optional."""
