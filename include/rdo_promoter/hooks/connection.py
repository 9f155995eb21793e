"""What the hooks share: an Airflow Connection read with messages that name it and say what to write."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from rdo_promoter.errors import ConfigError, MissingConnectionError


class Extra(BaseModel):
    """A Connection's extra; what another provider reads there is left alone."""

    # Without the input: a wrong value may be a key.
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_none(cls, value: object) -> object:
        # The form of the UI stores a field that was left empty as "" or null.
        return None if isinstance(value, str) and not value.strip() else value


class TlsExtra(Extra):
    """Extra of a Connection to an HTTPS service.

    :param ca: path of the CA certificate that signed the service's own, when no public CA did.
    :param verify: true, or a path as in `ca`; false is refused.
    """

    ca: str | None = None
    verify: bool | str | None = None


AnyExtra = TypeVar("AnyExtra", bound=Extra)


def get_connection(conn_id: str, conn_types: Collection[str]) -> Connection:
    """Return a Connection of one of the types.

    :raises MissingConnectionError: when Airflow says that it does not exist.
    :raises ConfigError: when it has another type.
    """
    try:
        connection: Connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise MissingConnectionError(
            f"Connection '{conn_id}' does not exist: create it under Admin > Connections with type "
            f"{' or '.join(conn_types)}, or set AIRFLOW_CONN_{conn_id.upper()}"
        ) from error
    if connection.conn_type not in conn_types:
        raise ConfigError(
            f"Connection '{conn_id}' has type {connection.conn_type}; it has to be {' or '.join(conn_types)}"
        )
    return connection


def read_extra(connection: Connection, model: type[AnyExtra]) -> AnyExtra:
    """Parse the extra of a Connection.

    :raises ConfigError: when it is no JSON object or a value has the wrong type.
    """
    where = f"extra of Connection '{connection.conn_id}'"
    try:
        content: Any = json.loads(connection.extra) if connection.extra else {}
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is no JSON ({error}); write an object such as {{}}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{where} is a JSON {type(content).__name__}; write an object such as {{}}")
    # Airflow masks the values of secret keys in all logs from here on.
    _ = connection.extra_dejson
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"'{_key(item['loc'])}': {item['msg']}" for item in error.errors())
        raise ConfigError(
            f"{where} cannot be used: {problems}; known keys: {', '.join(model.model_fields)}"
        ) from error


def read_url(connection: Connection, example: str) -> str:
    """Return the address in a Connection's host, with https unless it names a scheme.

    :param example: an address of this kind, for the message.
    :raises ConfigError: when it is no such address.
    """
    where = f"host of Connection '{connection.conn_id}'"
    remedy = f"write the whole address there, for example {example}"
    host = (connection.host or "").strip()
    if not host:
        raise ConfigError(f"{where} is empty: {remedy}")
    if connection.schema:
        # Airflow puts the path of a Connection's URI there.
        raise ConfigError(f"schema of Connection '{connection.conn_id}' is not read: {remedy}")
    # Anywhere: a password may hold what ends a host. Nothing of it is quoted here.
    if "@" in host:
        raise ConfigError(f"{where} holds a login: {remedy}; login and password have fields of their own")
    try:
        parts = urlsplit(host if "://" in host else f"https://{host}")
        port = parts.port
        # What no name server can be asked for, like a..b, clients find out with errors of their own.
        (parts.hostname or "").encode("idna")
    except ValueError:
        raise ConfigError(f"{where} is no address: {remedy}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"{where} is no address of a web service: {remedy}")
    if connection.port and port is None:
        parts = parts._replace(netloc=f"{parts.netloc}:{connection.port}")
    return SplitResult(parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "").geturl()


def read_verify(connection: Connection) -> bool | str:
    """Return what verifies the service's certificate: True for the public CAs, or a CA's file.

    :raises ConfigError: when verification is switched off, or the file does not exist.
    """
    extra = read_extra(connection, TlsExtra)
    where = f"extra of Connection '{connection.conn_id}'"
    verify = extra.verify
    if isinstance(verify, str) and verify.strip().lower() in ("true", "false"):
        verify = verify.strip().lower() == "true"
    if verify is False:
        raise ConfigError(
            f"{where} has 'verify' false, but certificates are always verified: "
            "write the path of the service's CA certificate to 'ca' instead"
        )
    named = {path for path in (extra.ca, verify) if isinstance(path, str)}
    if len(named) > 1:
        raise ConfigError(f"{where} names two CA files, in 'ca' and in 'verify': keep 'ca'")
    if not named:
        return True
    path = named.pop()
    if not Path(path).is_file():
        raise ConfigError(f"{where} names the CA file {path}, which does not exist on this machine")
    return path


def _key(location: tuple[int | str, ...]) -> str:
    # Behind the key stand pydantic's names of the alternatives that it tried.
    return str(location[0]) if location else ""
