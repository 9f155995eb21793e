"""What people decide at run time: waivers, holds, bad builds; written by a form of Airflow's or a command.

This module loads nothing: the command line reads its arguments without Airflow.
"""
