"""Airflow Connections turned into clients."""
