"""One message on its way out: an HTTPS POST, a mail, a program.

Each attempt has one deadline for everything, names looked up included. What comes back is
one line, without the secrets of the address: a status, the server's last words, the end of
the program's output.
"""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, NamedTuple

from lvsha.config.alerts import AlertSettings, Channel, MailSecurity, MailSettings, masked_url
from lvsha.core.instant import to_seconds

ANSWER_MAX = 300
"""Characters of an answer that are kept."""
_BODY_READ = 1024
_LINE_MAX = 4096


class Answer(NamedTuple):
    ok: bool
    text: str


class _SmtpRefused(Exception):
    """A reply that is not the one that was hoped for."""


async def tell(alert: AlertSettings, channel: Channel, document: dict[str, Any]) -> Answer:
    """One attempt; never raises but when it is cancelled.

    ``document``: ``director.alerts.document_of``.
    """
    try:
        async with asyncio.timeout(to_seconds(alert.timeout)):
            if channel is Channel.WEBHOOK:
                answer = await _post(alert, document)
            elif channel is Channel.MAIL:
                assert alert.mail is not None, "it is no channel of this alert"
                answer = await _mail(alert, alert.mail, document)
            else:
                answer = await _run(alert, document)
    except TimeoutError:
        answer = Answer(False, f"timeout: no answer within {to_seconds(alert.timeout):g} s")
    except _SmtpRefused as error:
        answer = Answer(False, str(error))
    except (OSError, ValueError, EOFError) as error:
        answer = Answer(False, f"{type(error).__name__}: {error}")
    return Answer(answer.ok, _without_secrets(alert, " ".join(answer.text.split()))[:ANSWER_MAX])


def _without_secrets(alert: AlertSettings, text: str) -> str:
    password = alert.mail.password if alert.mail is not None else None
    if alert.webhook is not None:
        text = text.replace(alert.webhook, masked_url(alert.webhook))
    for secret in (alert.token, password):
        if secret:
            text = text.replace(secret, "********")
    return text


def _trust(alert: AlertSettings) -> ssl.SSLContext:
    """Reads files: not for the loop."""
    return ssl.create_default_context(cafile=alert.ca_file)


async def _post(alert: AlertSettings, document: dict[str, Any]) -> Answer:
    import aiohttp

    assert alert.webhook is not None, "it is no channel of this alert"
    headers = {"Authorization": f"Bearer {alert.token}"} if alert.token is not None else {}
    trust: ssl.SSLContext | bool = True
    if alert.webhook.startswith("https:"):
        trust = await asyncio.to_thread(_trust, alert)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, limit=1)) as session,
            # A redirect would carry the message to somebody else.
            session.post(alert.webhook, json=document, headers=headers, allow_redirects=False) as response,
        ):
            body = await response.content.read(_BODY_READ)
            text = f"{response.status} {response.reason or ''} {body.decode(errors='replace')}"
            return Answer(200 <= response.status < 300, text)
    except aiohttp.ClientError as error:
        return Answer(False, f"{type(error).__name__}: {error}")


async def _run(alert: AlertSettings, document: dict[str, Any]) -> Answer:
    names = ("alert", "event", "severity", "subject", "text", "node")
    # A zero byte ends an environment: nothing that we tell may hold one.
    words = {f"LVSHA_{name.upper()}": str(document[name]).replace("\0", "") for name in names}
    process = await asyncio.create_subprocess_exec(
        *alert.exec,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | words,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate(json.dumps(document).encode() + b"\n")
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    said = output.decode(errors="replace").strip()[-ANSWER_MAX:]
    return Answer(process.returncode == 0, f"exit status {process.returncode} {said}")


# Mail: RFC 5321; as much of it as a client needs that sends one message


async def _mail(alert: AlertSettings, mail: MailSettings, document: dict[str, Any]) -> Answer:
    trust = None if mail.security is MailSecurity.NONE else await asyncio.to_thread(_trust, alert)
    at_once = trust if mail.security is MailSecurity.TLS else None
    reader, writer = await asyncio.open_connection(mail.server, mail.port, ssl=at_once, limit=_LINE_MAX)
    try:
        await _expect(reader, "2", "the greeting")
        hello = f"EHLO {_host_name(document)}"
        await _say(reader, writer, hello, "2")
        if mail.security is MailSecurity.STARTTLS:
            assert trust is not None, "made above"
            await _say(reader, writer, "STARTTLS", "2")
            await writer.start_tls(trust, server_hostname=mail.server)
            await _say(reader, writer, hello, "2")
        if mail.user is not None:
            login = base64.b64encode(f"\0{mail.user}\0{mail.password or ''}".encode()).decode()
            await _say(reader, writer, f"AUTH PLAIN {login}", "2", shown="AUTH PLAIN")
        await _say(reader, writer, f"MAIL FROM:<{mail.sender}>", "2")
        for address in mail.to:
            await _say(reader, writer, f"RCPT TO:<{address}>", "2")
        await _say(reader, writer, "DATA", "3")
        text = message_text(mail, document)
        writer.write(text.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        await writer.drain()
        said = await _expect(reader, "2", "the message")
        writer.write(b"QUIT\r\n")
        return Answer(True, said)
    finally:
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


def _host_name(document: dict[str, Any]) -> str:
    name = str(document["node"])
    return name if name.isascii() and all(char.isalnum() or char in "-." for char in name) else "localhost"


def message_text(mail: MailSettings, document: dict[str, Any]) -> bytes:
    """The mail as it goes over the wire, but for the dots of RFC 5321 section 4.5.2."""
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = ", ".join(mail.to)
    message["Subject"] = f"[lvsha] {document['text']}"[:200]
    message["Date"] = formatdate(float(document["at"]))
    message["Message-ID"] = make_msgid(domain=mail.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{document['text']}\n\n{json.dumps(document, indent=2)}\n")
    return message.as_bytes(policy=message.policy.clone(linesep="\r\n", max_line_length=200))


async def _say(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str, wanted: str, *, shown: str = ""
) -> str:
    writer.write(f"{line}\r\n".encode())
    await writer.drain()
    return await _expect(reader, wanted, shown or line)


async def _expect(reader: asyncio.StreamReader, wanted: str, what: str) -> str:
    """The last line of a reply whose code begins with ``wanted``."""
    for _ in range(100):
        line = (await reader.readline()).decode(errors="replace").rstrip()
        if not line:
            raise _SmtpRefused(f"{what}: the server closed the connection")
        if line[3:4] == "-":
            continue
        if not line.startswith(wanted):
            raise _SmtpRefused(f"{what}: {line}")
        return line
    raise _SmtpRefused(f"{what}: a reply of more than 100 lines")
