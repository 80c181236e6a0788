"""Makes proto/captures: what a real kernel's master daemon sends, and what a second kernel makes of it.

Each kind of capture is a small play in namespaces of a guest: real sockets, real IPVS, real sync daemons.
Beside each NAME.pcap a NAME.toml says how it was made and lists the rows that the peer's kernel then had.
The captures in the repository came from::

    .venv/bin/lvsha lab exec --bare --limit 300 -- \
        .venv/bin/python -m tests.kernel.make_captures proto/captures [NAME...]

Another run gives other client ports, sequence numbers and times, and the same kinds of entries.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from lvsha.io.ipvs_genl import IpvsSocket
from lvsha.io.sync_socket import SyncInjector
from lvsha.ipvs.model import Daemon, DaemonRole
from lvsha.lab.netns import run
from lvsha.wire.ipvs_sync.message import decode_message, encode_message
from lvsha.wire.ipvs_sync.names import ConnFlag, Protocol, TcpState
from lvsha.wire.ipvs_sync.options import SequenceData, SequenceDelta
from lvsha.wire.ipvs_sync.records import SyncConn
from tests.conformance.sync_captures import datagrams, installed_rows
from tests.kernel.capture_stage import (
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    SYNCID,
    VIP,
    VIP6,
    Recorder,
    Setup,
    Stage,
    stage,
)

AT_HANDSHAKE: dict[str, str | int] = {"sync_threshold": "2 50"}
"""A TCP connection is announced with the ACK that ends its handshake, others with their second packet."""
EVERY_PACKET: dict[str, str | int] = {"sync_threshold": "0 1"}


def service(flag: str, address: str, method: str, *, port: int = 80, more: str = "") -> tuple[str, ...]:
    """ipvsadm's words for one service with one realserver."""
    server = SERVER6 if ":" in address else SERVER
    host, target = (f"[{each}]" if ":" in each else each for each in (address, server))
    return (
        f"-A {flag} {host}:{port} -s rr {more}".strip(),
        f"-a {flag} {host}:{port} -r {target}:{port} {method}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    what: str
    play: Callable[[Stage], None]
    setup: Setup


def three_connections(built: Stage) -> None:
    """One stays, one is closed by the client, one by the realserver."""
    listener = built.listen(SERVER, 80)
    pairs = [built.connect(80, server=listener) for _ in range(3)]
    for ours, theirs in pairs:
        ours.sendall(b"ping")
        theirs.sendall(theirs.recv(4))
        ours.recv(4)
    pairs[0][0].close()
    time.sleep(0.1)
    pairs[0][1].close()
    pairs[1][1].close()
    time.sleep(0.1)
    pairs[1][0].close()


def three_answered_directly(built: Stage) -> None:
    """The realserver holds the VIP and answers without the director."""
    _answer_directly(built, "lo")
    listener = built.listen(VIP, 80)
    _one_stays_one_is_closed(built, listener)


def three_through_a_tunnel(built: Stage) -> None:
    built.server.batch([f"link add ipip0 type ipip local {SERVER}", "link set ipip0 up"])
    built.server.sysctl(net__ipv4__conf__ipip0__rp_filter=0)
    _answer_directly(built, "ipip0")
    listener = built.listen(VIP, 80)
    _one_stays_one_is_closed(built, listener)


def _answer_directly(built: Stage, device: str) -> None:
    built.server.batch(
        [f"addr add {VIP}/32 dev {device}"]
        + [f"route delete 10.2.0.{host}/32 via 10.2.0.1" for host in range(10, 15)]
    )


def _one_stays_one_is_closed(built: Stage, listener: socket.socket) -> None:
    built.connect(80, server=listener)
    closed = built.connect(80, server=listener)
    closed[0].close()
    time.sleep(0.1)
    closed[1].close()


def inet6(built: Stage) -> None:
    listener = built.listen(SERVER6, 80)
    pairs = [built.connect(80, source=CLIENT6, to=VIP6, server=listener) for _ in range(2)]
    pairs[0][0].close()
    time.sleep(0.1)
    pairs[0][1].close()


def clients(built: Stage) -> None:
    """Three clients with a connection each, so three templates."""
    listener = built.listen(SERVER, 80)
    for host in (10, 11, 12):
        built.connect(80, source=f"10.2.0.{host}", server=listener)


def marked_clients(built: Stage) -> None:
    # Not by nftables: the guest's kernel is built without its address families.
    built.director.run(["tc", "qdisc", "add", "dev", "eth0", "clsact"])
    mark = ["matchall", "action", "skbedit", "mark", "5"]
    built.director.run(["tc", "filter", "add", "dev", "eth0", "ingress", *mark])
    _answer_directly(built, "lo")
    listener = built.listen(VIP, 80)
    for host in (10, 11, 12):
        built.connect(80, source=f"10.2.0.{host}", server=listener)


def datagram_clients(built: Stage) -> None:
    server = built.listen(SERVER, 53, socket.SOCK_DGRAM)
    for _ in range(3):
        ours = built.talk(53)
        for _ in range(3):
            ours.send(b"question")
            data, where = server.recvfrom(100)
            server.sendto(data, where)
            ours.recv(100)


def sctp_associations(built: Stage) -> None:
    run(["modprobe", "-d", "/run/lm", "sctp"], check=False)
    with built.server.entered():
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    built.sockets.append(listener)
    listener.bind((SERVER, 2905))
    listener.listen(8)
    listener.settimeout(5)
    for number in range(3):
        with built.client.entered():
            ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        built.sockets.append(ours)
        ours.settimeout(5)
        ours.bind((CLIENT, 0))
        ours.connect((VIP, 2905))
        theirs, _ = listener.accept()
        built.sockets.append(theirs)
        ours.send(b"ping")
        theirs.recv(4)
        if number == 0:
            ours.close()


def sip_calls(built: Stage) -> None:
    server = built.listen(SERVER, 5060, socket.SOCK_DGRAM)
    for number, call in enumerate(("f81d4fae-7dec-11d0@client.example", "3848276298220188511@10.2.0.10")):
        ours = built.talk(5060, 5060 + number)
        for method in ("INVITE", "ACK", "BYE"):
            text = f"{method} sip:bob@example SIP/2.0\r\nCall-ID: {call}\r\nCSeq: 1 {method}\r\n\r\n"
            ours.send(text.encode())
            server.recv(500)


def ftp_session(built: Stage) -> None:
    """Passive FTP: ip_vs_ftp rewrites the address in the answer, and expects the data connection."""
    control = built.listen(SERVER, 21)
    data = built.listen(SERVER, 4567)
    ours, theirs = built.connect(21, server=control)
    theirs.sendall(b"220 ready\r\n")
    ours.recv(100)
    ours.sendall(b"PASV\r\n")
    theirs.recv(100)
    numbers = ",".join((*SERVER.split("."), *map(str, divmod(4567, 256))))
    theirs.sendall(f"227 Entering Passive Mode ({numbers}).\r\n".encode())
    answer = ours.recv(100).decode()
    *_, high, low = answer.partition("(")[2].partition(")")[0].split(",")
    assert answer.count(VIP.replace(".", ",")) == 1, f"the helper did not rewrite {answer!r}"
    ours.sendall(b"RETR file\r\n")
    theirs.recv(100)
    pair = built.connect(int(high) * 256 + int(low), server=data)
    pair[1].sendall(b"contents")
    pair[0].recv(100)
    for _ in range(3):
        ours.sendall(b"NOOP\r\n")
        theirs.recv(100)
        theirs.sendall(b"200 ok\r\n")
        ours.recv(100)


def shifted_sequence(built: Stage) -> None:
    _shift(built)


def shifted_sequence_then_v0(built: Stage) -> None:
    """What the connection itself holds after a v1 message about it: v0 sends it as it is."""
    ours, theirs = _shift(built)
    time.sleep(3.2)  # the v1 buffer goes first
    built.director.sysctl(net__ipv4__vs__sync_version=0)
    ours.sendall(b"ping")
    theirs.recv(4)


def _shift(built: Stage) -> tuple[socket.socket, socket.socket]:
    """A row that has sequence data, and traffic that makes the kernel announce it.

    Linux 6.1's ip_vs_ftp leaves sequence numbers to conntrack (see v1_ftp), so the row gets the data from
    a message of ours; it is the kernel that sends them on. Version 1 sends something else instead: see
    docs/reference/sync-protocol.md#sequence-data.
    """
    listener = built.listen(SERVER, 80)
    ours, theirs = built.connect(80, server=listener)
    sequence = SequenceData(
        in_seq=SequenceDelta(init_seq=0x11223344, delta=5, previous_delta=2),
        out_seq=SequenceDelta(init_seq=0x55667788, delta=0xFFFFFFFD, previous_delta=0),
    )
    row = SyncConn.build(
        protocol=Protocol.TCP,
        client=(ip_address(CLIENT), ours.getsockname()[1]),
        virtual=(ip_address(VIP), 80),
        destination=(ip_address(SERVER), 80),
        state=TcpState.ESTABLISHED,
        flags=ConnFlag.IN_SEQ | ConnFlag.OUT_SEQ,
        timeout=900,
        sequence=sequence,
    )
    built.director.batch(["link add lvsha0 type dummy", "link set lvsha0 up"])
    with built.director.entered(), IpvsSocket() as ipvs:
        ipvs.start_daemon(Daemon(role=DaemonRole.BACKUP, interface="lvsha0", syncid=0))
        with SyncInjector("lvsha0") as injector:
            injector.deliver([encode_message(SYNCID, [row])])
    built.connect(80, server=listener)
    for _ in range(2):
        ours.sendall(b"ping")
        theirs.recv(4)
    return ours, theirs


def many(count: int) -> Callable[[Stage], None]:
    def play(built: Stage) -> None:
        listener = built.listen(SERVER, 80)
        for _ in range(count):
            built.connect(80, server=listener)

    return play


def nat(sync: dict[str, str | int], *, maxlen: int | None = None, group: str | None = None) -> Setup:
    return Setup(services=service("-t", VIP, "-m"), sync=sync, maxlen=maxlen, group=group)


KINDS = {
    "v0_tcp": Kind(
        what="version 0: TCP in NAT, established, closed by the client, closed by the realserver",
        play=three_connections,
        setup=nat({**AT_HANDSHAKE, "sync_version": 0}),
    ),
    "v0_sequence_data": Kind(
        what="version 0: a TCP connection with sequence data, in the sender's byte order, little endian here",
        play=shifted_sequence,
        setup=nat({**EVERY_PACKET, "sync_version": 0}),
    ),
    "v1_tcp_nat": Kind(
        what="TCP in NAT, established, closed by the client, closed by the realserver",
        play=three_connections,
        setup=nat(AT_HANDSHAKE),
    ),
    "v1_tcp_droute": Kind(
        what="TCP with direct routing: one established, one closed",
        play=three_answered_directly,
        setup=Setup(services=service("-t", VIP, "-g"), sync=AT_HANDSHAKE),
    ),
    "v1_tcp_tunnel": Kind(
        what="TCP through an IPIP tunnel: one established, one closed",
        play=three_through_a_tunnel,
        setup=Setup(services=service("-t", VIP, "-i"), sync=AT_HANDSHAKE),
    ),
    "v1_inet6": Kind(
        what="TCP over IPv6 in NAT: one established, one closed",
        play=inet6,
        setup=Setup(services=service("-t", VIP6, "-m"), sync=AT_HANDSHAKE),
    ),
    "v1_persistence_template": Kind(
        what="three clients of a persistent service: templates and connections",
        play=clients,
        setup=Setup(services=service("-t", VIP, "-m", more="-p 300"), sync=AT_HANDSHAKE),
    ),
    "v1_fwmark_template": Kind(
        what="three clients of a persistent firewall-mark service: the mark stands for the virtual address",
        play=marked_clients,
        setup=Setup(services=("-A -f 5 -s rr -p 300", f"-a -f 5 -r {SERVER} -g"), sync=AT_HANDSHAKE),
    ),
    "v1_udp": Kind(
        what="UDP: one state, always INACTIVE",
        play=datagram_clients,
        setup=Setup(services=service("-u", VIP, "-m", port=53), sync=AT_HANDSHAKE),
    ),
    "v1_sctp": Kind(
        what="SCTP associations in NAT, one of them shut down",
        play=sctp_associations,
        setup=Setup(services=service("--sctp-service", VIP, "-m", port=2905), sync=EVERY_PACKET),
    ),
    "v1_sip": Kind(
        what="SIP over UDP with the sip persistence engine: PE data and PE name in the templates",
        play=sip_calls,
        setup=Setup(services=service("-u", VIP, "-m", port=5060, more="-p 300 --pe sip"), sync=EVERY_PACKET),
    ),
    "v1_ftp": Kind(
        what="passive FTP in NAT with ip_vs_ftp: control and data connection",
        play=ftp_session,
        setup=Setup(services=service("-t", VIP, "-m", port=21), sync=EVERY_PACKET),
    ),
    "v1_sequence_data": Kind(
        what="a TCP connection with sequence data, then entries after it in the same message",
        play=shifted_sequence,
        setup=nat(EVERY_PACKET),
    ),
    "v1_then_v0_sequence_data": Kind(
        what="the same connection announced in version 1, then in version 0: what version 1 did to its data",
        play=shifted_sequence_then_v0,
        setup=nat(EVERY_PACKET),
    ),
    "v1_sync_ports_4": Kind(
        what="sync_ports 4: the connections spread over the ports 8848 to 8851",
        play=many(24),
        setup=nat({**AT_HANDSHAKE, "sync_ports": 4}),
    ),
    "v1_maxlen_9000": Kind(
        what="sync_maxlen 9000: 249 entries in a datagram, in IP fragments",
        play=many(260),
        setup=nat(AT_HANDSHAKE, maxlen=9000),
    ),
    "v1_count_overflow": Kind(
        what="sync_maxlen 20000 and 300 connections at once: the count of eight bits says 44",
        play=many(300),
        setup=nat(AT_HANDSHAKE, maxlen=20000),
    ),
    "v1_group6": Kind(
        what="the messages themselves over IPv6, to ff02::81",
        play=many(2),
        setup=nat(AT_HANDSHAKE, group="ff02::81"),
    ),
}


def make(name: str, kind: Kind, folder: Path) -> bool:
    """Record one kind; False: the peer's kernel disagrees with the codec."""
    with stage(kind.setup) as built:
        recorder = Recorder(built.peer)
        kind.play(built)
        recorder.collect()
        rows = built.installed()
    path = folder / f"{name}.pcap"
    recorder.write(path)
    recorder.close()
    messages = [decode_message(data) for data in datagrams(path)]
    entries = sum(len(message.entries) for message in messages)
    text = [f"# {name}.pcap was made by tests/kernel/make_captures.py", f"what = {json.dumps(kind.what)}"]
    text += [f"kernel = {json.dumps('Linux ' + os.uname().release)}", 'daemon = "ipvs master, syncid 7"']
    text += [f"services = {json.dumps([f'ipvsadm {words}' for words in kind.setup.services])}"]
    text += [f"datagrams = {len(messages)}", f"entries = {entries}"]
    text += ["", "[sysctl]"]
    text += [f"net.ipv4.vs.{key} = {json.dumps(value)}" for key, value in kind.setup.sync.items()]
    text += ["", "[master]", f"sync_maxlen = {kind.setup.maxlen or 1472}"]
    text += [f'group = "{kind.setup.group or "224.0.0.81"}"', "", "[peer]"]
    text += [
        "# /proc/net/ip_vs_conn_sync of a second kernel that heard the same datagrams, without its timers"
    ]
    text += ["installed = ["] + [f"    {json.dumps(row)}," for row in rows] + ["]"]
    (folder / f"{name}.toml").write_text("\n".join(text) + "\n", encoding="utf-8")
    agrees = installed_rows(messages) == rows
    print(f"{name}: {len(messages)} datagrams, {entries} entries, {len(rows)} rows", end="")
    print("" if agrees else ": NOT what the codec says", flush=True)
    return agrees


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(KINDS)}; none: all")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(KINDS)
    if unknown:
        parser.error(f"no such capture: {', '.join(sorted(unknown))}")
    chosen = arguments.names or list(KINDS)
    results = [make(name, KINDS[name], arguments.folder) for name in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
