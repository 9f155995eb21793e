"""The RDO promotion workflow: what to promote, how to do it safely, and its Airflow Dags.

Layers, upper to lower (imports only go down)::

    cli, dag_factory     what people start
    release, steps       the YAML format; one module per step kind
    operators, sensors   thin Airflow tasks
    triggers             waiting for CI in the triggerer
    hooks                an Airflow Connection becomes a client
    engine               observe, plan, apply, verify on clients alone
    clients              DLRN, container registry, image server
    model                pure: builds, votes, order, plan
    errors               the exception tree
"""

__version__ = "0.1.0"
