"""What ``-h`` and ``-v`` print: apart, because a list needs neither."""

_HELP = """\
usage: {name} COMMAND [OPTION...]        (every word of ipvsadm 1.31, and some more)

  -A, --add-service     SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M NETMASK] [-b FLAGS] [--pe ENGINE] [-o]
  -E, --edit-service    SERVICE, as -A: what is not said goes back to its default
  -D, --delete-service  SERVICE
  -a, --add-server      SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  -e, --edit-server     SERVICE -r SERVER, as -a
  -d, --delete-server   SERVICE -r SERVER
  -L, -l, --list        [SERVICE] [LIST]
  -Z, --zero            [SERVICE]      set the counters to 0
  -C, --clear                          remove all services; connections stay until they expire
  -S, --save            [-n]           print the table as lines for -R
  -R, --restore                        carry out the lines of the standard input
  --set TCP TCPFIN UDP                 time-outs in seconds; 0 leaves one as it is
  --start-daemon master|backup [DAEMON]
  --stop-daemon master|backup
  -h, --help            -v, --version

SERVICE  -t|-u|--sctp-service HOST[:PORT] (-t|-u|--sctp-service [IPV6]:PORT), or -f MARK [-6]
         long: --tcp-service --udp-service --sctp-service --fwmark-service --ipv6
SERVER   HOST[:PORT] or [IPV6]:PORT; -g --gatewaying (the default), -i --ipip, -m --masquerading
         -w --weight, -x --u-threshold, -y --l-threshold
TUNNEL   --tun-type ipip|gue|gre  --tun-port PORT  --tun-nocsum|--tun-csum|--tun-remcsum
-s, --scheduler    rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh (default wlc)
-p, --persistent   seconds a client stays with its server (default 360)
-M, --netmask      which clients stay together: 255.255.255.0, or a prefix length for IPv6
-b, --sched-flags  sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3, with commas
--pe sip           what makes a client the same;  -o, --ops  one packet, one connection
LIST     -n --numeric  --stats  --rate  --exact  --thresholds  --persistent-conn  --tun-info  --nosort
         -c --connection, --timeout or --daemon list something else; --sort does nothing
DAEMON   --mcast-interface DEVICE  --syncid 0-255  --sync-maxlen BYTES
         --mcast-group ADDRESS  --mcast-port PORT  --mcast-ttl TTL

beside ipvsadm
  -L ... --json                        any list as JSON; -Lc as one object a line
  -L ... --watch[=SECONDS]             again and again, with rates (--count=N: so often)
  -Lc [--vip=A[:PORT]] [--rs=A[:PORT]] [--client=A[/LEN]] [--state=NAME]    some connections only
  -S --full                            with thresholds and marks that -S loses
  -R --dry-run                         what the lines would change; -R --atomic: change all of it, or nothing
  diff FILE [--json]                   the kernel's table beside a saved one
  top                                  who has the traffic
  sysctl [NAME...]                     the kernel's IPVS settings explained (each verb has --help)

example: {name} -A -t 192.0.2.10:80 -s wlc && {name} -a -t 192.0.2.10:80 -r 10.0.0.11 -m
"""


def help_text(name: str) -> str:
    return _HELP.format(name=name)


def version_text() -> str:
    from lvsha import __version__

    return f"ipvsadm v1.31 2019/12/24 (lvsha {__version__} and IPVS v1.2.1)\n"
