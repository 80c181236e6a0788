"""TLS for probes: contexts that are made once, and a stream over two memory BIOs."""

import os
import ssl
import time
from collections.abc import Iterator

from lvsha.checker.probes.dialogue import Verdict
from lvsha.checker.result import Reason, bounded_detail
from lvsha.checker.settings import TlsOptions
from lvsha.core.instant import SECOND

_READ_SIZE = 64 * 1024
_STAT_INTERVAL_S = 30.0
"""How often the files behind a context are looked at for a change."""

_CONTEXT_LIMIT = 1024

HANDSHAKE_LIMIT = 256 * 1024
"""Bytes that a handshake may bring. OpenSSL bounds each message, but reads any number of empty ones."""


class TlsFailure(Exception):
    """TLS went wrong; ``verdict`` says how."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.detail)
        self.verdict = verdict


class Contexts:
    """One ``SSLContext`` per set of options: making one reads and parses hundreds of certificates."""

    def __init__(self) -> None:
        self._made: dict[TlsOptions, tuple[ssl.SSLContext, tuple[float, ...], float]] = {}

    def get(self, options: TlsOptions) -> ssl.SSLContext:
        """The context; a changed file makes a new one within half a minute.

        Raises:
            TlsFailure: ``MISCONFIGURED``, a file is missing or is not what it should be.
        """
        now = time.monotonic()
        made = self._made.get(options)
        if made is not None and now - made[2] < _STAT_INTERVAL_S:
            return made[0]
        try:
            changed = _changed(options)
            if made is None or made[1] != changed:
                context = _make(options)
            else:
                context = made[0]
        except (OSError, ssl.SSLError) as error:
            name = getattr(error, "filename", None) or options.ca_file or options.certificate_file or ""
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise TlsFailure(
                Verdict(Reason.MISCONFIGURED, bounded_detail(f"TLS files {name}: {words}"))
            ) from None
        if len(self._made) >= _CONTEXT_LIMIT:
            self._made.clear()
        self._made[options] = (context, changed, now)
        return context


def _changed(options: TlsOptions) -> tuple[float, ...]:
    names = (options.ca_file, options.certificate_file, options.key_file)
    return tuple(os.stat(name).st_mtime for name in names if name is not None)


def _make(options: TlsOptions) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif options.ca_file is not None:
        context.load_verify_locations(cafile=options.ca_file)
    else:
        context.load_default_certs()
    if options.certificate_file is not None:
        context.load_cert_chain(options.certificate_file, options.key_file)
    if options.alpn:
        context.set_alpn_protocols(options.alpn)
    return context


class TlsStream:
    """One TLS connection without a socket: bytes of the network in, bytes for the network out."""

    __slots__ = ("_handshake_bytes", "_incoming", "_object", "_options", "_outgoing", "warning")

    def __init__(self, options: TlsOptions, context: ssl.SSLContext, server_name: str) -> None:
        self._options = options
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._handshake_bytes = 0
        self.warning = ""
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name or None)

    def pending(self) -> bytes:
        """What the network is owed."""
        return self._outgoing.read()

    def handshake(self, data: bytes = b"") -> bool:
        """Go on with the handshake; True when it is done.

        Raises:
            TlsFailure: the other side does not speak TLS, or its certificate is no good.
        """
        if data:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > HANDSHAKE_LIMIT:
                words = f"TLS: more than {HANDSHAKE_LIMIT} bytes of handshake"
                raise TlsFailure(Verdict(Reason.TLS_FAILED, words))
            self._incoming.write(data)
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise TlsFailure(_verdict(error, self._options)) from None
        if self._options.expiry_warning and self._options.verify:
            self.warning = self._expiry()
        return True

    def encrypt(self, data: bytes) -> None:
        """Plain bytes to send; ``pending`` has them then.

        Raises:
            TlsFailure: the connection is broken.
        """
        try:
            self._object.write(data)
        except ssl.SSLError as error:
            raise TlsFailure(_verdict(error, self._options)) from None

    def decrypt(self, data: bytes) -> Iterator[bytes]:
        """Plain pieces of what came from the network; an empty one: the other side says goodbye.

        Raises:
            TlsFailure: the connection is broken.
        """
        if data:
            self._incoming.write(data)
        while True:
            try:
                piece = self._object.read(_READ_SIZE)
            except ssl.SSLWantReadError:
                return
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                yield b""
                return
            except ssl.SSLError as error:
                raise TlsFailure(_verdict(error, self._options)) from None
            yield piece
            if not piece:
                return

    def _expiry(self) -> str:
        ends = (self._object.getpeercert() or {}).get("notAfter")
        if not isinstance(ends, str):
            return ""
        left = ssl.cert_time_to_seconds(ends) - time.time()
        return f"the certificate ends {ends}" if left * SECOND < self._options.expiry_warning else ""


def _verdict(error: ssl.SSLError, options: TlsOptions) -> Verdict:
    if isinstance(error, ssl.SSLCertVerificationError):
        where = options.ca_file or "the system's authorities"
        words = f"certificate: {error.verify_message} (checked against {where})"
        return Verdict(Reason.CERTIFICATE_INVALID, bounded_detail(words))
    words = (error.reason or str(error)).replace("_", " ").lower()
    return Verdict(Reason.TLS_FAILED, bounded_detail(f"TLS: {words}"))
