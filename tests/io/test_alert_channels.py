"""Messages to a real HTTP server, a real SMTP server and a real program on this machine."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from aiohttp import web

from lvsha.config.alerts import AlertSettings, Channel, MailSecurity, MailSettings
from lvsha.core.instant import MILLISECOND, SECOND
from lvsha.director.alerts import Message, document_of
from lvsha.io.alert_channels import tell

DOCUMENT = document_of(
    Message(
        event="change.role",
        severity="info",
        subject="r -> MASTER",
        at=1.0,
        fields={"why": "no advert\n.\nBcc: x"},
    ),
    alert="ops",
    node="lb1",
)


def alert(**changes: Any) -> AlertSettings:
    return AlertSettings(**{"name": "ops", "on": ("role",), "timeout": 5 * SECOND, **changes})


@asynccontextmanager
async def http_server(status: int, *, delay_s: float = 0.0) -> AsyncIterator[tuple[str, list[Any]]]:
    """Its URL, and what it was sent."""
    heard: list[Any] = []

    async def hook(request: web.Request) -> web.Response:
        heard.append((request.headers.get("Authorization"), await request.json()))
        await asyncio.sleep(delay_s)
        headers = {"Location": str(request.url.with_path("/stolen"))} if status == 302 else {}
        return web.Response(status=status, text="said SECRET2", headers=headers)

    app = web.Application()
    app.router.add_post("/{name}", hook)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/SECRET", heard
    finally:
        await runner.cleanup()


async def test_a_webhook_gets_the_json_and_its_status_comes_back() -> None:
    async with http_server(200) as (url, heard):
        answer = await tell(alert(webhook=url, token="SECRET2"), Channel.WEBHOOK, DOCUMENT)

    assert answer == (True, "200 OK said ********")
    assert heard == [("Bearer SECRET2", DOCUMENT)]


async def test_a_webhook_that_refuses_redirects_or_is_late_did_not_take_it() -> None:
    for status in (500, 302):
        async with http_server(status) as (url, heard):
            answer = await tell(alert(webhook=url), Channel.WEBHOOK, DOCUMENT)
        assert not answer.ok
        assert answer.text.startswith(str(status))
        assert len(heard) == 1, "a redirect is not followed"

    async with http_server(200, delay_s=5.0) as (url, _):
        late = await tell(alert(webhook=url, timeout=100 * MILLISECOND), Channel.WEBHOOK, DOCUMENT)
    gone = await tell(alert(webhook=url), Channel.WEBHOOK, DOCUMENT)
    assert late == (False, "timeout: no answer within 0.1 s")
    assert not gone.ok
    assert "SECRET" not in gone.text


@asynccontextmanager
async def smtp_server(replies: dict[str, str]) -> AsyncIterator[tuple[int, list[bytes], list[bytes]]]:
    """Its port, the commands and the mails that it got; ``replies``: by verb, where not 250."""
    commands: list[bytes] = []
    mails: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            commands.append(line.rstrip())
            verb = line.split()[0].decode()
            reply = replies.get(verb, "250-one\r\n250 two" if verb == "EHLO" else "250 fine")
            writer.write((replies.get(verb, "354 go on") if verb == "DATA" else reply).encode() + b"\r\n")
            if verb == "DATA" and verb not in replies:
                lines = []
                while (line := await reader.readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b".") else line)
                mails.append(b"".join(lines))
                writer.write(b"250 queued as 7\r\n")
            if verb == "QUIT":
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], commands, mails
    finally:
        server.close()


def mail(port: int, **changes: Any) -> MailSettings:
    return MailSettings(
        **{
            "server": "127.0.0.1",
            "port": port,
            "security": MailSecurity.NONE,
            "sender": "lvsha@lb1",
            "to": ("a@example.net", "b@example.net"),
            **changes,
        }
    )


async def test_a_mail_is_one_message_whatever_stands_in_it() -> None:
    async with smtp_server({}) as (port, commands, mails):
        answer = await tell(alert(mail=mail(port)), Channel.MAIL, DOCUMENT)

    message = message_from_bytes(mails[0], policy=policy.default)
    assert answer == (True, "250 queued as 7")
    assert commands[:4] == [
        b"EHLO lb1",
        b"MAIL FROM:<lvsha@lb1>",
        b"RCPT TO:<a@example.net>",
        b"RCPT TO:<b@example.net>",
    ]
    assert message["Subject"] == "[lvsha] lb1: change.role r -> MASTER: no advert . Bcc: x"
    assert message["Bcc"] is None
    assert '"event": "change.role"' in message.get_content()


async def test_a_line_that_begins_with_a_dot_does_not_end_the_mail() -> None:
    async with smtp_server({}) as (port, _, mails):
        await tell(alert(mail=mail(port)), Channel.MAIL, {**DOCUMENT, "text": ".hidden"})

    assert message_from_bytes(mails[0], policy=policy.default).get_content().startswith(".hidden\r\n")


async def test_a_server_that_refuses_says_why_and_a_password_stays_out_of_it() -> None:
    async with smtp_server({"AUTH": "535 no, SECRET"}) as (port, _, mails):
        settings = alert(mail=mail(port, user="u", password="SECRET"))
        answer = await tell(settings, Channel.MAIL, DOCUMENT)

    assert answer == (False, "AUTH PLAIN: 535 no, ********")
    assert not mails


async def test_a_mail_is_not_sent_in_the_clear_where_the_server_has_no_tls() -> None:
    async with smtp_server({"STARTTLS": "502 what?"}) as (port, _, mails):
        answer = await tell(alert(mail=mail(port, security=MailSecurity.STARTTLS)), Channel.MAIL, DOCUMENT)

    assert answer == (False, "STARTTLS: 502 what?")
    assert not mails


async def test_a_program_reads_the_json_and_its_status_counts(tmp_path: Path) -> None:
    script = 'cat > "$0"; echo "$LVSHA_EVENT $LVSHA_NODE"; exit ${1:-0}'
    command = ("/bin/sh", "-c", script, str(tmp_path / "told"))

    good = await tell(alert(exec=command), Channel.EXEC, DOCUMENT)
    bad = await tell(alert(exec=(*command, "3")), Channel.EXEC, DOCUMENT)
    absent = await tell(alert(exec=("/none",)), Channel.EXEC, DOCUMENT)

    assert good == (True, "exit status 0 change.role lb1")
    assert bad == (False, "exit status 3 change.role lb1")
    assert not absent.ok
    assert json.loads((tmp_path / "told").read_text()) == DOCUMENT


async def test_a_program_that_hangs_is_killed_with_its_children() -> None:
    hanging = alert(exec=("/bin/sh", "-c", "sleep 60 & sleep 60"), timeout=100 * MILLISECOND)

    assert await tell(hanging, Channel.EXEC, DOCUMENT) == (False, "timeout: no answer within 0.1 s")
