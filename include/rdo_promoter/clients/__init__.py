"""Clients of the services that hold labels: DLRN, container registries, image servers. No Airflow."""
