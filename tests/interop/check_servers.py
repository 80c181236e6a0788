"""Servers from Debian, each its own process on a port of loopback, its files in a directory of the test."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CERTIFICATES = Path(__file__).parents[1] / "io" / "probes" / "certificates"
HOST = "127.0.0.7"
"""What the test certificate is for."""
PEM = CERTIFICATES / "server.pem"
AUTHORITY = CERTIFICATES / "authority.pem"
SYSTEM_PYTHON = "/usr/bin/python3"
"""It sees Debian's Python packages, which the environment of the tests does not."""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind((HOST, 0))
        port: int = sock.getsockname()[1]
        return port


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postgresql/15/bin")
    assert found, f"{name} is not installed: `./run test` does it"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What a test needs to know of its server."""

    port: int
    tls_port: int = 0
    other_port: int = 0


@contextlib.contextmanager
def daemon(directory: Path, *argv: str, user: str | None = None) -> Iterator[None]:
    """Ended with its children by the id of its group; what it said is in ``log``."""
    log = (directory / "log").open("ab")
    process = subprocess.Popen(
        [program(argv[0]), *argv[1:]],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        cwd="/",
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
        log.close()


def give_to(user: str, directory: Path) -> None:
    """To a server that does not run as root."""
    entry = pwd.getpwnam(user)
    os.chown(directory, entry.pw_uid, entry.pw_gid)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A directory that servers find without root's rights; pytest's own lie behind a closed one."""
    with tempfile.TemporaryDirectory(prefix="lvsha-servers-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextlib.contextmanager
def nginx(directory: Path) -> Iterator[Running]:
    port, tls_port = free_port(), free_port()
    scratch = " ".join(f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy"))
    (directory / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {directory}/pid; error_log {directory}/log;
events {{ worker_connections 64; }}
http {{
    access_log off; {scratch}
    fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen {HOST}:{port};
        listen {HOST}:{tls_port} ssl http2;
        ssl_certificate {PEM}; ssl_certificate_key {PEM};
        location / {{ return 200 "a page of nginx"; }}
        location /old {{ return 302 /new; }}
        location /loop {{ return 302 /loop; }}
        location /away {{ return 302 http://www.example.com:81/; }}
        location /busy {{ return 503 "not now"; }}
        location /secret {{ auth_basic "x"; auth_basic_user_file {directory}/users; }}
    }}
}}
""")
    (directory / "users").write_text("joe:{PLAIN}sesame\n")
    with daemon(directory, "nginx", "-c", str(directory / "nginx.conf")):
        yield Running(port=port, tls_port=tls_port)


@contextlib.contextmanager
def nghttpd(directory: Path) -> Iterator[Running]:
    port = free_port()
    (directory / "index.html").write_text("a page of nghttpd")
    options = ("--no-tls", f"--address={HOST}", f"--htdocs={directory}", str(port))
    with daemon(directory, "nghttpd", *options):
        yield Running(port=port)


@contextlib.contextmanager
def slapd(directory: Path) -> Iterator[Running]:
    port, tls_port = free_port(), free_port()
    (directory / "data").mkdir()
    (directory / "slapd.conf").write_text(f"""
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {directory}/pid
TLSCertificateFile {PEM}
TLSCertificateKeyFile {PEM}
database mdb
suffix "dc=example"
rootdn "cn=admin,dc=example"
rootpw sesame
directory {directory}/data
maxsize 1048576
""")
    (directory / "entries.ldif").write_text(
        "dn: dc=example\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n"
    )
    conf = str(directory / "slapd.conf")
    subprocess.run(
        [program("slapadd"), "-f", conf, "-l", str(directory / "entries.ldif")],
        check=True,
        capture_output=True,
        timeout=20,
    )
    urls = f"ldap://{HOST}:{port}/ ldaps://{HOST}:{tls_port}/"
    with daemon(directory, "slapd", "-d", "0", "-f", conf, "-h", urls):
        yield Running(port=port, tls_port=tls_port)


@contextlib.contextmanager
def freeradius(directory: Path) -> Iterator[Running]:
    port = free_port(socket.SOCK_DGRAM)
    (directory / "radiusd.conf").write_text(f"""
prefix = /usr
logdir = {directory}
raddbdir = {directory}
run_dir = {directory}
pidfile = {directory}/pid
libdir = /usr/lib/freeradius
max_requests = 64
security {{
    status_server = yes
}}
thread pool {{
    start_servers = 1
    max_servers = 2
    min_spare_servers = 1
    max_spare_servers = 1
}}
modules {{
    pap {{
    }}
}}
client here {{
    ipaddr = 127.0.0.0/8
    secret = testing123
    require_message_authenticator = yes
}}
server default {{
    listen {{
        type = auth
        ipaddr = {HOST}
        port = {port}
    }}
    authorize {{
        update control {{
            Cleartext-Password := "sesame"
        }}
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
    }}
}}
""")
    (directory / "dictionary").write_text("$INCLUDE /usr/share/freeradius/dictionary\n")
    with daemon(directory, "freeradius", "-f", "-l", "stdout", "-d", str(directory), "-n", "radiusd"):
        yield Running(port=port)


@contextlib.contextmanager
def vsftpd(directory: Path) -> Iterator[Running]:
    port = free_port()
    (directory / "empty").mkdir()
    (directory / "home").mkdir()
    (directory / "vsftpd.conf").write_text(
        f"listen=YES\nlisten_address={HOST}\nlisten_port={port}\nanonymous_enable=YES\nlocal_enable=NO\n"
        f"ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\nrsa_cert_file={PEM}\n"
        f"rsa_private_key_file={PEM}\nssl_sslv2=NO\nssl_sslv3=NO\nssl_tlsv1=YES\n"
        f"secure_chroot_dir={directory}/empty\nanon_root={directory}/home\nbackground=NO\n"
        "seccomp_sandbox=NO\nno_anon_password=NO\n"
    )
    with daemon(directory, "vsftpd", str(directory / "vsftpd.conf")):
        yield Running(port=port)


@contextlib.contextmanager
def dovecot(directory: Path) -> Iterator[Running]:
    """``port`` speaks IMAP, ``tls_port`` POP3 over TLS, ``other_port`` POP3."""
    port, tls_port, pop_port = free_port(), free_port(), free_port()
    (directory / "users").write_text("joe:{PLAIN}sesame:65534:65534::/nonexistent::\n")
    (directory / "dovecot.conf").write_text(f"""
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
listen = {HOST}
protocols = imap pop3
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{PEM}
ssl_key = <{PEM}
mail_location = maildir:{directory}/mail
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop_port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
""")
    mail = directory / "mail"
    mail.mkdir()
    os.chown(mail, 65534, 65534)
    with daemon(directory, "dovecot", "-F", "-c", str(directory / "dovecot.conf")):
        yield Running(port=port, tls_port=tls_port, other_port=pop_port)


_SMTP = """
import ssl, sys, time
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3])
Controller(Sink(), hostname=sys.argv[1], port=int(sys.argv[2]), tls_context=context).start()
time.sleep(60)
"""


@contextlib.contextmanager
def aiosmtpd(directory: Path) -> Iterator[Running]:
    """Not OpenSMTPD: Debian 12's fails in every TLS handshake (``SSL routines::EVP lib``)."""
    port = free_port()
    with daemon(directory, SYSTEM_PYTHON, "-c", _SMTP, HOST, str(port), str(PEM)):
        yield Running(port=port)


@contextlib.contextmanager
def postgresql(directory: Path) -> Iterator[Running]:
    port = free_port()
    data = directory / "data"
    give_to("postgres", directory)
    options = {"user": "postgres", "group": "postgres", "extra_groups": []}
    subprocess.run(
        [program("initdb"), "-D", str(data), "--no-sync", "--auth=trust", "--no-instructions"],
        check=True,
        capture_output=True,
        timeout=40,
        cwd="/",
        **options,  # type: ignore[call-overload]
    )
    arguments = ("-D", str(data), "-h", HOST, "-p", str(port), "-k", "", "-F", "-c", "shared_buffers=1MB")
    with daemon(directory, "postgres", *arguments, user="postgres"):
        yield Running(port=port)


@contextlib.contextmanager
def mariadb(directory: Path) -> Iterator[Running]:
    port = free_port()
    data = directory / "data"
    data.mkdir()
    arguments = (
        "--no-defaults",
        "--user=root",
        f"--datadir={data}",
        f"--bind-address={HOST}",
        f"--port={port}",
        f"--socket={directory}/socket",
        f"--pid-file={directory}/pid",
        "--skip-grant-tables",
        "--skip-networking=0",
        "--skip-log-bin",
        "--default-storage-engine=MyISAM",
        "--innodb=OFF",
        "--key-buffer-size=64k",
        "--aria-pagecache-buffer-size=128k",
    )
    with daemon(directory, "mariadbd", *arguments):
        yield Running(port=port)


@contextlib.contextmanager
def tinyproxy(directory: Path) -> Iterator[Running]:
    """A proxy, and behind it a page of its own."""
    port = free_port()
    (directory / "page.html").write_text("a page behind a proxy")
    with socket.create_server((HOST, 0)) as listener:
        behind = listener.getsockname()[1]
    (directory / "tinyproxy.conf").write_text(
        f'Port {port}\nListen {HOST}\nTimeout 10\nMaxClients 8\nAllow 127.0.0.0/8\nViaProxyName "x"\n'
        "BasicAuth joe sesame\nConnectPort 443\n" + f"ConnectPort {behind}\n"
    )
    web = (sys.executable, "-m", "http.server", str(behind), "--bind", HOST, "--directory", str(directory))
    (directory / "web").mkdir()
    with (
        daemon(directory, "tinyproxy", "-d", "-c", str(directory / "tinyproxy.conf")),
        daemon(directory / "web", *web),
    ):
        yield Running(port=port, tls_port=behind)


_GRPC = """
import sys, time, grpc
from concurrent import futures
from grpc import RpcMethodHandler, StatusCode

class Health(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check":
            return None
        def answer(request, context):
            if not request:
                return b"\\x08\\x01"
            if request.endswith(b"down"):
                return b"\\x08\\x02"
            context.abort(StatusCode.NOT_FOUND, "nobody of that name")
        return grpc.unary_unary_rpc_method_handler(answer)

server = grpc.server(futures.ThreadPoolExecutor(2))
server.add_generic_rpc_handlers((Health(),))
key = open(sys.argv[3], "rb").read()
server.add_insecure_port(sys.argv[1])
server.add_secure_port(sys.argv[2], grpc.ssl_server_credentials([(key, key)]))
server.start()
time.sleep(60)
"""


@contextlib.contextmanager
def grpc(directory: Path) -> Iterator[Running]:
    port, tls_port = free_port(), free_port()
    arguments = ("-c", _GRPC, f"{HOST}:{port}", f"{HOST}:{tls_port}", str(PEM))
    with daemon(directory, SYSTEM_PYTHON, *arguments):
        yield Running(port=port, tls_port=tls_port)


Server = Callable[[Path], contextlib.AbstractContextManager[Running]]
