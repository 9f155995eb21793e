"""A strict SSH connection: one pinned host key, time-outs everywhere, this package's errors."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path
from threading import Timer
from typing import NoReturn

import paramiko

from rdo_promoter.errors import AuthError, ConfigError, NotFoundError, ServiceError

#: Seconds to reach the server.
CONNECT_TIMEOUT = 10.0

#: Seconds for the banner, for the key exchange, for the login and for the SFTP session, each.
HANDSHAKE_TIMEOUT = 30.0

#: Seconds for one answer of the SFTP server; a disk that is woken up takes its time.
ANSWER_TIMEOUT = 60.0

#: Seconds between two signs of life: a firewall forgets a silent connection.
KEEPALIVE = 30

#: What OpenSSH says to everything that SFTP has no status for.
_FAILURE = "Failure"

_PRIVATE_KEYS: tuple[type[paramiko.PKey], ...] = (
    paramiko.Ed25519Key,
    paramiko.ECDSAKey,
    paramiko.RSAKey,
)


@contextmanager
def connect(
    host: str,
    port: int,
    username: str,
    *,
    private_key: str | None = None,
    key_file: str | Path | None = None,
    passphrase: str | None = None,
    password: str | None = None,
    host_key: str | None,
    name: str = "SSH server",
    source: str = "the Connection",
    connect_timeout: float = CONNECT_TIMEOUT,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> Iterator[paramiko.SFTPClient]:
    """Log in to an SSH server whose host key is known, and yield an SFTP session.

    :param answer_timeout: seconds for one answer of the SFTP server; the other parameters are those of
        `log_in`, which also says what is raised.
    """
    with log_in(
        host,
        port,
        username,
        private_key=private_key,
        key_file=key_file,
        passphrase=passphrase,
        password=password,
        host_key=host_key,
        name=name,
        source=source,
        connect_timeout=connect_timeout,
        handshake_timeout=handshake_timeout,
        answer_timeout=answer_timeout,
    ) as client:
        try:
            sftp = _open_sftp(client, handshake_timeout, answer_timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ServiceError(
                f"{name} {host}:{port} does not answer the login of {username}: {_text(error)}"
            ) from error
        try:
            yield sftp
        finally:
            # paramiko cannot close what has died, and must not hide what was said about it.
            with suppress(paramiko.SSHException, EOFError, OSError):
                sftp.close()


@contextmanager
def log_in(
    host: str,
    port: int,
    username: str,
    *,
    private_key: str | None = None,
    key_file: str | Path | None = None,
    passphrase: str | None = None,
    password: str | None = None,
    host_key: str | None,
    name: str = "SSH server",
    source: str = "the Connection",
    connect_timeout: float = CONNECT_TIMEOUT,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> Iterator[paramiko.SSHClient]:
    """Log in to an SSH server whose host key is known.

    Neither `~/.ssh` nor an agent is looked at: what a task may do must not depend on who started Airflow.

    :param private_key: the text of a private key; a key or a password is needed.
    :param key_file: the file of a private key, instead of its text.
    :param passphrase: of the private key, when it is encrypted.
    :param host_key: the server's public key, as ``ssh-ed25519 AAAA...`` or only ``AAAA...``.
    :param name: what the server is called in messages.
    :param source: what these settings were read from, for the messages.
    :param connect_timeout: seconds to reach the server.
    :param handshake_timeout: seconds for the banner, the key exchange and the login, each.
    :param answer_timeout: seconds until the kernel gives up on a server that takes nothing any more.
    :raises ConfigError: when a key cannot be read, nothing to log in with is given, or no machine can have
        that host's name.
    :raises AuthError: when the server shows no host key, another one, or refuses the login.
    :raises ServiceError: when the server does not answer.
    """
    server = f"{name} {host}:{port}"
    silent = f"{server} does not answer the login of {username}"
    pinned = parse_host_key(host_key, source=source) if host_key else None
    key = _load_key(private_key, key_file, passphrase, source)
    if key is None and not password:
        raise ConfigError(
            f"{source} holds nothing to log in with: set extra 'key_file' or 'private_key', or the password"
        )
    with paramiko.SSHClient() as client:
        client.set_missing_host_key_policy(_Refuse(server, source))
        if pinned is not None:
            name = host if port == 22 else f"[{host}]:{port}"
            client.get_host_keys().add(name, pinned.get_name(), pinned)
        try:
            client.connect(
                host,
                port,
                username,
                password=password,
                pkey=key,
                sock=_dial(host, port, connect_timeout, answer_timeout, source),
                timeout=handshake_timeout,
                banner_timeout=handshake_timeout,
                auth_timeout=handshake_timeout,
                channel_timeout=handshake_timeout,
                allow_agent=False,
                look_for_keys=False,
            )
        except paramiko.BadHostKeyException as error:
            raise AuthError(
                f"{server} showed another host key than the one in extra 'host_key' of {source}: "
                f"{_describe(error.key)} instead of {_describe(error.expected_key)}. Nothing was sent. "
                f"{_remedy(error.key, source)}"
            ) from error
        except paramiko.AuthenticationException as error:
            if _is_silence(error):
                raise ServiceError(f"{silent}: {error}") from error
            raise AuthError(
                f"{server}: login as {username} was refused ({error}); check login and key of {source}"
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise ServiceError(f"{silent}: {_text(error)}") from error
        yield client


def parse_host_key(text: str, *, source: str = "the Connection") -> paramiko.PKey:
    """Read a public key, as ``ssh-ed25519 AAAA...``, as ``AAAA...``, or as a line of ``ssh-keyscan``.

    :raises ConfigError: when the text is no public key.
    """
    # The key's own first field names its type, so that the word before it is not needed.
    for word in text.split():
        if not word.startswith("AAAA"):
            continue
        try:
            data = base64.b64decode(word, validate=True)
            return paramiko.PKey.from_type_string(paramiko.Message(data).get_text(), data)
        except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
            raise _bad_host_key(source) from error
    raise _bad_host_key(source)


@contextmanager
def sftp_errors(what: str, *, failure: str = "") -> Iterator[None]:
    """Turn what paramiko raises into this package's errors.

    :param what: what is asked of which server, for the message.
    :param failure: what SFTP's status "Failure", which has no reason, most often means here.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"{what}: it does not exist") from error
    except PermissionError as error:
        raise AuthError(
            f"{what}: the server does not allow it; check owner and mode of the folder"
        ) from error
    except (paramiko.SSHException, paramiko.SFTPError, EOFError, OSError) as error:
        # SFTP's status "Failure" has no reason: a full disk looks like it too, so it may be tried again.
        hint = f"; {failure}" if failure and _text(error) == _FAILURE else ""
        raise ServiceError(f"{what}: {_text(error)}{hint}") from error


class _Refuse(paramiko.MissingHostKeyPolicy):
    """Called by paramiko before the login, when no host key is known."""

    def __init__(self, server: str, source: str) -> None:
        self._server = server
        self._source = source

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> NoReturn:  # noqa: ARG002
        raise AuthError(
            f"{self._server} is not known: extra 'host_key' of {self._source} is missing. "
            f"It showed {_describe(key)}. Nothing was sent. {_remedy(key, self._source)}"
        )


def _describe(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.fingerprint}"


def _remedy(key: paramiko.PKey, source: str) -> str:
    return (
        "Compare the fingerprint with the one that the server's administrator names; only if it is the same, "
        f'set extra "host_key" of {source} to "{key.get_name()} {key.get_base64()}"'
    )


def _bad_host_key(source: str) -> ConfigError:
    return ConfigError(
        f"extra 'host_key' of {source} is no public key; write the one line of the server's "
        'ssh_host_ed25519_key.pub, for example "ssh-ed25519 AAAAC3Nza..."'
    )


def _load_key(
    private_key: str | None, key_file: str | Path | None, passphrase: str | None, source: str
) -> paramiko.PKey | None:
    """Return the key to log in with; the messages never quote it."""
    what = "'private_key'"
    if key_file is not None:
        what = f"'key_file' {key_file}"
        if private_key is not None:
            raise ConfigError(f"{source} has both extras 'private_key' and 'key_file': keep one")
        try:
            private_key = Path(key_file).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"extra {what} of {source} cannot be read: {_text(error)}") from error
    if private_key is None:
        return None
    for kind in _PRIVATE_KEYS:
        try:
            return kind.from_private_key(StringIO(private_key), password=passphrase)
        except paramiko.PasswordRequiredException as error:
            raise ConfigError(
                f"extra {what} of {source} is encrypted: set extra 'private_key_passphrase'"
            ) from error
        except (paramiko.SSHException, ValueError):
            continue
    raise ConfigError(
        f"extra {what} of {source} is no private key that can be used (Ed25519, ECDSA or RSA, line breaks "
        "kept), or its passphrase is wrong"
    )


def _dial(host: str, port: int, connect_timeout: float, answer_timeout: float, source: str) -> socket.socket:
    try:
        sock = socket.create_connection((host, port), timeout=connect_timeout)
    except UnicodeError as error:
        # No name server is asked for a name like a..b, so trying again says the same.
        raise ConfigError(
            f"host {host!r} of {source} is no name of a machine: write it without a scheme, its parts joined "
            "by single dots, for example images.rdoproject.org"
        ) from error
    # paramiko leaves Nagle's algorithm on: small requests then wait for a delayed ACK, some ms each.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # paramiko tries for ever to send to a server that takes nothing any more: let the kernel end that.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(answer_timeout * 1000))
    return sock


def _open_sftp(
    client: paramiko.SSHClient, handshake_timeout: float, answer_timeout: float
) -> paramiko.SFTPClient:
    transport = client.get_transport()
    assert transport is not None, "connect() has just made it"
    transport.set_keepalive(KEEPALIVE)
    channel = transport.open_session(timeout=handshake_timeout)
    # Before SFTPClient, which reads the server's version at once and would wait for it for ever.
    channel.settimeout(answer_timeout)
    with _ended_after(transport, handshake_timeout):
        channel.invoke_subsystem("sftp")
    return paramiko.SFTPClient(channel)


@contextmanager
def _ended_after(transport: paramiko.Transport, seconds: float) -> Iterator[None]:
    """End the connection when this takes too long: paramiko waits for some answers for ever."""
    timer = Timer(seconds, transport.close)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_silence(error: paramiko.AuthenticationException) -> bool:
    """Tell "no answer" from "no": paramiko has one class for both, only its words tell them apart."""
    return "timeout" in str(error) or "EOF" in str(error)


def _text(error: BaseException) -> str:
    """Return what an error says; some say nothing."""
    if isinstance(error, EOFError):
        return "the connection has ended"
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
