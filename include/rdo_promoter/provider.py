"""What Airflow asks a provider package about; read at every start, so nothing is imported here."""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata.

    The form of the Connection is declared here and not in methods of the hook, which Airflow 3.2 deprecated
    and which make it import the hook and a form library. Source: ``provider_info.schema.json`` and
    ``provider.yaml.schema.json`` of Airflow 3.3.
    """
    return {
        "package-name": "rdo-promoter",
        "name": "RDO promoter",
        "description": "The RDO promotion workflow as Airflow Dags.",
        "connection-types": [
            {
                "connection-type": "dlrn",
                "hook-class-name": "rdo_promoter.hooks.dlrn.DlrnHook",
                "hook-name": "DLRN",
                "ui-field-behaviour": {
                    # The port stays: the test button of Airflow 3.3.2 refuses a Connection without one.
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "API URL", "login": "User"},
                    "placeholders": {
                        "host": "https://trunk.rdoproject.org/api-centos9-master-uc",
                        "port": "443",
                    },
                },
                "conn-fields": {
                    "ca": {
                        "label": "CA certificate",
                        "schema": {"type": ["string", "null"]},
                        "description": "Path of the CA certificate that signed DLRN's, if no public CA did.",
                    },
                },
            },
            {
                "connection-type": "zuul",
                "hook-class-name": "rdo_promoter.hooks.zuul.ZuulHook",
                "hook-name": "Zuul",
                "ui-field-behaviour": {
                    # Everybody may look: there is no login. The port stays, as above.
                    "hidden-fields": ["schema", "login", "password"],
                    "relabeling": {"host": "Zuul's URL"},
                    "placeholders": {"host": "https://review.rdoproject.org/zuul", "port": "443"},
                },
                "conn-fields": {
                    "tenant": {
                        "label": "Tenant",
                        "schema": {"type": ["string", "null"]},
                        "description": "The tenant whose pipelines test the builds, such as rdoproject.org.",
                    },
                    "ca": {
                        "label": "CA certificate",
                        "schema": {"type": ["string", "null"]},
                        "description": "Path of the CA certificate that signed Zuul's, if no public CA did.",
                    },
                },
            },
            {
                # The jenkins provider has the same type with the same fields; with both, one form is shown.
                "connection-type": "jenkins",
                "hook-class-name": "rdo_promoter.hooks.jenkins.JenkinsHook",
                "hook-name": "Jenkins",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Jenkins's URL", "login": "User", "password": "API token"},
                    "placeholders": {"host": "https://jenkins.example.org", "port": "443"},
                },
                "conn-fields": {
                    "ca": {
                        "label": "CA certificate",
                        "schema": {"type": ["string", "null"]},
                        "description": "Path of the CA certificate that signed its own, if no public CA did.",
                    },
                },
            },
            {
                "connection-type": "handoff_key",
                "hook-class-name": "rdo_promoter.hooks.handoff.HandoffKeyHook",
                "hook-name": "Hand-off key",
                "ui-field-behaviour": {
                    # The port stays, as above.
                    "hidden-fields": ["schema", "host"],
                    "relabeling": {"login": "Key id", "password": "Private key"},
                    "placeholders": {"login": "rdo-2026", "port": "443"},
                },
                "conn-fields": {
                    "private_key": {
                        "label": "Private key, instead of the one above",
                        "schema": {"type": ["string", "null"], "format": "password"},
                        "description": "An Ed25519 key in PEM or OpenSSH's form, without a passphrase.",
                    },
                },
            },
            {
                "connection-type": "handoff_receiver",
                "hook-class-name": "rdo_promoter.hooks.handoff.HandoffReceiverHook",
                "hook-name": "Hand-off receiver",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "host": "Receiver's URL",
                        "login": "User",
                        "password": "Password or token",
                    },
                    "placeholders": {"host": "https://builds.example.org/api/handoffs", "port": "443"},
                },
                "conn-fields": {
                    "ca": {
                        "label": "CA certificate",
                        "schema": {"type": ["string", "null"]},
                        "description": "Path of the CA certificate that signed its own, if no public CA did.",
                    },
                },
            },
        ],
        "extra-links": [
            "rdo_promoter.triggers.links.VotesLink",
            "rdo_promoter.triggers.links.LogLink",
            "rdo_promoter.triggers.links.ReportLink",
        ],
    }
