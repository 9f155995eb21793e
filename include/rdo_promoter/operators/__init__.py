"""Thin Airflow operators: each carries out one documented step by calling the engine."""
