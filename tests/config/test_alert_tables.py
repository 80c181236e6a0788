"""[[alert]]: what it means, what is refused, and that its secrets are nowhere."""

import pytest

from lvsha.config.alerts import MailSecurity
from lvsha.config.diff import diff
from lvsha.config.diff import text as diff_text
from lvsha.config.load import loads
from lvsha.config.show import document, to_toml
from lvsha.core.errors import ConfigErrors
from lvsha.core.instant import SECOND

GOOD = """
[[alert]]
name = "oncall"
on = ["role", "quorum", "error", "vrrp.*"]
webhook = "https://user:SECRET1@chat.example:8443/hooks/SECRET2"
token = "SECRET3"
exec = ["/bin/true", "x"]
repeat = "1m"
[alert.mail]
server = "[fd00::25]:2525"
to = ["ops@example.net"]
security = "starttls"
user = "u"
password = "SECRET4"
"""


def test_an_alert_is_read_and_its_secrets_are_masked_wherever_it_is_shown() -> None:
    settings = loads(GOOD)
    (alert,) = settings.alerts

    assert alert.mail is not None
    assert (alert.mail.server, alert.mail.port, alert.mail.security) == (
        "fd00::25",
        2525,
        MailSecurity.STARTTLS,
    )
    assert alert.repeat == 60 * SECOND
    assert "SECRET" not in repr(settings)
    shown = to_toml(document(settings))
    assert "SECRET" not in shown
    assert "https://chat.example:8443/********" in shown
    assert loads(to_toml(document(settings, masked=False)), node=settings.node).alerts == settings.alerts
    assert loads(shown, node=settings.node).alerts[0].name == "oncall"


@pytest.mark.parametrize("secret", ["SECRET1", "SECRET2", "SECRET3", "SECRET4"])
def test_another_secret_is_a_change_that_does_not_tell_it(secret: str) -> None:
    said = diff_text(diff(loads(GOOD), loads(GOOD.replace(secret, "OTHER"))))

    assert said.count("\n") == 0
    assert "another ********" in said


def test_a_mail_that_comes_brings_no_password_into_the_plan() -> None:
    without = GOOD[: GOOD.index("[alert.mail]")]

    assert "SECRET" not in diff_text(diff(loads(without), loads(GOOD)))


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('"quorum"', '"quorom"', 'nothing is called "quorom" (did you mean "quorum"?)'),
        ('"vrrp.*"', '"nonsense.*"', 'nothing is called "nonsense.*"'),
        ('"https://', '"ftp://', "is not a URL like"),
        ("chat.example:8443", "chat .example", "is not a URL like"),
        ('"starttls"', '"none"', "needs user, and starttls or tls"),
        ('["ops@example.net"]', '["ops@example.net\\nBcc: x"]', "is not a mail address"),
        ('"1m"', '"2d"', "longer than a day"),
        ("[fd00::25]:2525", "mail:99999", 'is not "host" or "host:port"'),
    ],
)
def test_a_mistake_is_named_without_its_secrets(before: str, after: str, problem: str) -> None:
    with pytest.raises(ConfigErrors) as refusal:
        loads(GOOD.replace(before, after))

    assert problem in str(refusal.value)
    assert "SECRET" not in str(refusal.value)


def test_an_alert_that_tells_nobody_and_a_name_twice_are_refused() -> None:
    with pytest.raises(ConfigErrors, match=r"alert\[0\]: tells nobody"):
        loads('[[alert]]\nname = "x"\non = ["role"]\n')
    with pytest.raises(ConfigErrors, match=r'alert\[1\].name: there is an alert "oncall" already'):
        loads(GOOD + GOOD)
