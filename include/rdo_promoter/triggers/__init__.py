"""Waiting for CI in the triggerer, without a worker."""
