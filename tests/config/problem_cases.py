"""Configurations with something wrong, each marked where it is wrong.

``# ! words`` at the end of a line: an error is reported for that line, and its
message or suggestion holds these words. ``# ? words``: a warning. Nothing else
may be reported.
"""

# ruff: noqa: E501  (a marked line reads best unbroken)

DIRECTORS = """\
[directors]
lb1 = { address = "10.0.0.1", priority = 200 }
lb2 = { address = "10.0.0.2", priority = 100 }
"""
VRRP = """\
[[vrrp]]
interface = "eth0"
vrid = 51
addresses = ["10.0.0.10/24"]
"""
SERVICE = """\
[[service]]
address = "10.0.0.10:80"
check = "tcp"
realservers = ["10.0.0.11", "10.0.0.12"]
"""
BASE = DIRECTORS + VRRP

CASES: dict[str, str] = {
    # --- what one value gets wrong ---------------------------------------------------------------
    "unknown section": BASE + "[sink]  # ! unknown key # ! known here: directors, defaults\nport = 1\n",
    "section of another tool": BASE
    + SERVICE.replace("[[service]]", '[[virtual_server]]  # ! did you mean "service"'),
    "unknown key": BASE + SERVICE + 'schedular = "rr"  # ! did you mean "scheduler"\n',
    "keepalived's key": BASE + SERVICE + 'lb_algo = "rr"  # ! did you mean "scheduler"\n',
    "key in the wrong table": BASE + SERVICE + "vrid = 5  # ! it belongs to [[vrrp]]\n",
    "key of a small table": BASE + "[ipvs.timeouts]\nsctp = 5  # ! known here: tcp, tcp_fin, udp\n",
    "misspelt key is not called missing": DIRECTORS
    + '[[vrrp]]\ninterfce = "eth0"  # ! did you mean "interface"\nvrid = 51\naddresses = ["10.0.0.10/24"]\n',
    "missing keys": DIRECTORS
    + '[[vrrp]]  # ! addresses: is missing # ! vrid: is missing\ninterface = "eth0"\n',
    "number as text": BASE.replace(
        "vrid = 51", 'vrid = "51"  # ! has to be a whole number # ! without quotes'
    ),
    "truth as text": BASE + 'preempt = "yes"  # ! true or false # ! write true\n',
    "truth as number": BASE + "preempt = 0  # ! write false\n",
    "text as number": BASE.replace(
        'interface = "eth0"', "interface = 5  # ! has to be text in quotes, not 5"
    ),
    "a table that is a value": "sync = 5  # ! has to be a table\n" + BASE,
    "a list that is a value": BASE
    + SERVICE.replace('["10.0.0.11", "10.0.0.12"]', '"10.0.0.11"  # ! has to be a list'),
    "a single table": DIRECTORS + VRRP.replace("[[vrrp]]", "[vrrp]  # ! has to be a list"),
    "fraction": BASE + SERVICE + "quorum = 1.5  # ! has to be a whole number\n",
    "range": BASE + SERVICE + "quorum = 0  # ! 0 is less than 1\n",
    "vrid too large": BASE.replace("51", "256  # ! 256 is more than 255"),
    "syncid 0": BASE + "[sync]\nsyncid = 0  # ! 0 is less than 1\n",
    "syncid 256": BASE + "[sync]\nsyncid = 256  # ! 256 is more than 255\n",
    "unknown scheduler": BASE + SERVICE + 'scheduler = "wlcc"  # ! did you mean "wlc"\n',
    "keepalived's method": BASE + SERVICE + 'method = "masq"  # ! did you mean "nat"\n',
    "unknown check type": BASE + SERVICE.replace('"tcp"', '"SSL_GET"  # ! did you mean "https"'),
    "address": BASE + SERVICE.replace('10.0.0.10:80"', '10.0.0.300:80"  # ! is not an IP address'),
    "host name": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"web2.example.com",  # ! names are not resolved\n]'),
    "port out of range": BASE + SERVICE.replace('10.0.0.10:80"', '10.0.0.10:80000"  # ! from 0 to 65535'),
    "port is a word": BASE + SERVICE.replace('10.0.0.10:80"', '10.0.0.10:http"  # ! from 0 to 65535'),
    "multicast realserver": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"224.0.0.1",  # ! not the address of one machine\n]'),
    "prefix length": BASE.replace('/24"]', '/33"]  # ! write 10.0.0.10/32'),
    "address with an interface": BASE.replace('["10.0.0.10/24"]', '["fe80::1%eth0"]  # ! names an interface'),
    "duration": BASE + 'advert_interval = "100"  # ! is not a duration\n',
    "negative duration": BASE + "advert_interval = -1  # ! from 0 to ten years\n",
    "interface too long": BASE.replace('"eth0"', '"averyverylongname"  # ! 1 to 15 characters'),
    "name with a blank": BASE + 'name = "two words"  # ! no blanks\n',
    "relative directory": BASE + '[agent]\nrun_dir = "run"  # ! is not an absolute path\n',
    "empty list of addresses": DIRECTORS
    + '[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = []  # ! must not be empty\n',
    "password too long": BASE + 'version = 2\npassword = "ninechars"  # ! more than 8 characters\n',
    "maxlen": BASE + "[sync]\nmaxlen = 70000  # ! more than 65507\n",
    "maxlen word": BASE + '[sync]\nmaxlen = "kernal"  # ! did you mean "kernel"\n',
    "status": BASE + SERVICE.replace('"tcp"', '{ type = "http", status = "2xx" }  # ! is not a status code'),
    "status range": BASE
    + SERVICE.replace('"tcp"', '{ type = "http", status = "300-200" }  # ! is not a range'),
    "netmask": BASE
    + SERVICE
    + 'persistence_timeout = 60\npersistence_netmask = "255.0.255.0"  # ! is not a netmask\n',
    "bytes": BASE + SERVICE.replace('"tcp"', '{ type = "tcp", send = "hex:0g" }  # ! hexadecimal'),
    "address as a number": BASE + "[sync]\ngroup = 5  # ! text in quotes\n",
    "virtual address as a number": BASE.replace('["10.0.0.10/24"]', "[10]  # ! text in quotes"),
    "service address as a number": BASE + SERVICE.replace('"10.0.0.10:80"', "80  # ! text in quotes"),
    "bytes as a number": BASE + SERVICE.replace('"tcp"', "{ send = 5 }  # ! is text, or bytes"),
    "duration as a truth": BASE + 'advert_interval = true  # ! text like "100ms" or a number\n',
    "duration without end": BASE + SERVICE + 'slow_start = "9999d"  # ! at most ten years\n',
    "a netmask of no network": BASE
    + SERVICE
    + 'persistence_timeout = 60\npersistence_netmask = "256.0.0.0"  # ! is not a netmask\n',
    "unknown key of a check": BASE
    + SERVICE.replace('"tcp"', "{ zzz = 1 }  # ! remove it, or see lvsha config schema --markdown"),
    # --- directors -------------------------------------------------------------------------------
    "a director's priority": DIRECTORS.replace("200 }", "300 }  # ! 300 is more than 255"),
    "a director's unknown key": DIRECTORS.replace(
        "200 }", "200, weight = 1 }  # ! it belongs to a realserver"
    ),
    "an unknown default": "[defaults.vrrp]\nvrid = 5  # ! unknown key\n" + BASE,
    "two directors of one address": DIRECTORS.replace('10.0.0.2"', '10.0.0.1"').replace(
        "100 }", "100 }  # ! is already lb1's address"
    )
    + VRRP,
    "unknown director in an override": BASE.replace(
        '"eth0"', '{ lb1 = "eth0", lb2 = "eth1", lb3 = "eth2" }  # ! no director is called "lb3"'
    ),
    "director without a value": BASE.replace(
        '"eth0"', '{ lb1 = "eth0" }  # ! has no value for director "lb2"'
    ),
    "override without directors": VRRP.replace(
        '"eth0"', '{ lb1 = "eth0" }  # ! add [directors] # ! no value for director "director"'
    ),
    "a wrong value in an override": BASE
    + 'priority = { lb1 = 200, lb2 = "low" }  # ! has to be a whole number\n',
    # --- virtual routers -------------------------------------------------------------------------
    "same vrid on one interface": BASE
    + VRRP.replace("10.0.0.10", "10.0.0.20").replace(
        "vrid = 51", "vrid = 51  # ! is already that of vrrp[0]"
    ),
    "same address twice": BASE
    + VRRP.replace("51", "52").replace('/24"]', '/24"]  # ! already an address of vrrp[0]'),
    "same address twice in one": BASE.replace(
        '["10.0.0.10/24"]', '["10.0.0.10/24",\n"10.0.0.10/24"]  # ! is listed twice'
    ),
    "same name twice": BASE
    + 'name = "a"\n'
    + VRRP.replace("51", "52").replace("10.0.0.10", "10.0.0.20")
    + 'name = "a"  # ! is already the name of vrrp[0]\n',
    "two families": BASE.replace(
        '["10.0.0.10/24"]', '["10.0.0.10/24",\n"fd00::10/64"]  # ! put it in excluded_addresses'
    ),
    "version 2 with IPv6": DIRECTORS
    + '[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = ["fe80::10/64"]\nversion = 2  # ! VRRPv2 has no IPv6\n',
    "version 2 below a second": BASE + 'version = 2\nadvert_interval = "100ms"  # ! whole seconds\n',
    "version 2 in the defaults": '[defaults.vrrp]\nversion = 2\nadvert_interval = "1500ms"  # ! whole seconds\n'
    + BASE,
    "version 3 too fast": BASE + 'advert_interval = "5ms"  # ! 10 ms to 40.95 s\n',
    "version 3 too slow": BASE + 'advert_interval = "41s"  # ! 10 ms to 40.95 s\n',
    "version 3 between steps": BASE + 'advert_interval = "105ms"  # ! centiseconds\n',
    "version 3 with a password": BASE + 'password = "secret"  # ! VRRPv3 has no password\n',
    "both own the address": BASE + "priority = 255  # ! cannot both own the address\n",
    "the owner must preempt": BASE
    + "priority = { lb1 = 255, lb2 = 100 }\npreempt = false  # ! always preempts\n",
    "a director's own address": BASE.replace('["10.0.0.10/24"]', '["10.0.0.2/24"]  # ! lb2\'s own address'),
    "unicast to unknown addresses": BASE.replace('address = "10.0.0.2", ', "")
    + "unicast = true  # ! needs the address of director lb2 # ! nobody to send to\n",
    "unicast of another family": BASE.replace('"10.0.0.2"', '"fd00::2"')
    + "unicast = true  # ! give unicast_peers\n",
    "unicast peer of another family": BASE + 'unicast_peers = ["fd00::2"]  # ! fd00::2 is not IPv4\n',
    "source of another family": BASE + 'source_address = "fd00::1"  # ! fd00::1 is not IPv4\n',
    "too many addresses": DIRECTORS
    + '[[vrrp]]\ninterface = "eth0"\nvrid = 51\n'
    + f"addresses = {[f'10.1.{n // 250}.{n % 250 + 1}' for n in range(256)]}  # ! at most 255 addresses\n",
    # --- services --------------------------------------------------------------------------------
    "service twice": BASE + SERVICE + SERVICE.replace(':80"', ':80"  # ! is already that of service[0]'),
    "service twice in one table": BASE
    + SERVICE.replace('"10.0.0.10:80"', '["10.0.0.10:80",\n"10.0.0.10:80"]  # ! is twice here'),
    "service name twice": BASE
    + SERVICE
    + 'name = "web"\n'
    + SERVICE.replace(":80", ":81")
    + 'name = "web"  # ! is already the name of service[0]\n',
    "no address": BASE + '[[service]]  # ! address: is missing\nrealservers = ["10.0.0.11"]\n',
    "no port": BASE + SERVICE.replace(':80"', '"  # ! has no port'),
    "fwmark and address": BASE
    + SERVICE.replace(':80"', ':80"  # ! takes the place of address')
    + "fwmark = 5\n",
    "fwmark and protocol": BASE
    + '[[service]]\nfwmark = 5\nprotocol = "udp"  # ! takes the place of protocol\ncheck = "ping"\nrealservers = ["10.0.0.11"]\n',
    "family without fwmark": BASE + SERVICE + "family = 4  # ! is known from the address\n",
    "one_packet for tcp": BASE + SERVICE + "one_packet = true  # ! is for udp\n",
    "netmask without persistence": BASE
    + SERVICE
    + "persistence_netmask = 24  # ! without persistence_timeout\n",
    "netmask of another family": BASE
    + SERVICE
    + "persistence_timeout = 60\npersistence_netmask = 64  # ! outside 1-32\n",
    "persistence in fractions": BASE + SERVICE + "persistence_timeout = 1.5  # ! whole seconds\n",
    "engine without persistence": BASE
    + SERVICE
    + 'persistence_engine = "sip"  # ! without persistence_timeout\n',
    "engine for tcp": BASE
    + SERVICE
    + 'persistence_timeout = 60\npersistence_engine = "sip"  # ! reads datagrams\n',
    "flag of another scheduler": BASE
    + SERVICE
    + 'scheduler = "rr"\nscheduler_flags = ["mh-port"]  # ! is a flag of mh\n',
    "quorum larger than the weight": BASE + SERVICE + "quorum = 3  # ! more than the total weight, 2\n",
    "quorum larger than the number": BASE
    + SERVICE
    + 'quorum_unit = "servers"\nquorum = 3  # ! more than the number of realservers, 2\n',
    "hysteresis that never ends": BASE + SERVICE + "quorum = 2\nhysteresis = 1  # ! never comes up again\n",
    # --- realservers -----------------------------------------------------------------------------
    "dr with another port": BASE
    + SERVICE.replace('"10.0.0.12"', '\n"10.0.0.12:8080"').replace(
        '8080"]', '8080"]  # ! dr cannot change the port'
    ),
    "tun with another port": BASE
    + SERVICE.replace(
        '"10.0.0.12"]', '\n{ address = "10.0.0.12", port = 81 }]  # ! tun cannot change the port'
    )
    + 'method = "tun"\n',
    "port twice": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n{ address = "10.0.0.12:81", port = 82 }]  # ! contradicts 81')
    + 'method = "nat"\n',
    "port behind a mark": BASE
    + '[[service]]\nfwmark = 5\ncheck = "ping"\nrealservers = ["10.0.0.11:80"]  # ! means nothing with a fwmark\n',
    "realserver twice": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"10.0.0.11"]  # ! is already realservers[0]'),
    "realserver name twice": BASE
    + SERVICE.replace(
        '["10.0.0.11", "10.0.0.12"]',
        '[{ address = "10.0.0.11", name = "a" },\n{ address = "10.0.0.12", name = "a" }]  # ! the name of realservers[0]',
    ),
    "realserver is the service": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"10.0.0.10"]  # ! is a virtual address'),
    "realserver is another virtual address": BASE.replace(
        '["10.0.0.10/24"]', '["10.0.0.10/24", "10.0.0.20/24"]'
    )
    + SERVICE.replace('"10.0.0.12"]', '\n"10.0.0.20"]  # ! is a virtual address'),
    "realserver of another family": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"fd00::12"]  # ! is IPv6, the service is IPv4'),
    "tunnel to another family with sync": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n"fd00::12"]  # ! refuses to run its sync daemons')
    + 'method = "tun"\n',
    "thresholds": BASE
    + SERVICE.replace(
        '"10.0.0.12"]', '\n{ address = "10.0.0.12", lower_threshold = 5 }]  # ! more than upper_threshold 0'
    ),
    "weight": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n{ address = "10.0.0.12", weight = 65536 }]  # ! more than 65535'),
    "tunnel without tun": BASE
    + SERVICE.replace('"10.0.0.12"]', '\n{ address = "10.0.0.12", tunnel = {} }]  # ! has no effect with dr'),
    "gue without a port": BASE
    + SERVICE
    + 'method = "tun"\ntunnel = { type = "gue" }  # ! gue needs a port\n',
    "gre with a port": BASE
    + SERVICE
    + 'method = "tun"\ntunnel = { type = "gre", port = 5 }  # ! gre has no port\n',
    "ipip with a checksum": BASE
    + SERVICE
    + 'method = "tun"\ntunnel = { checksum = "csum" }  # ! ipip has no checksum\n',
    "gre with remcsum": BASE
    + SERVICE
    + 'method = "tun"\ntunnel = { type = "gre", checksum = "remcsum" }  # ! remcsum is gue\'s\n',
    "sorry is a realserver": BASE + SERVICE + 'sorry = "10.0.0.11"  # ! is a realserver of this service\n',
    "sorry with another port": BASE + SERVICE + 'sorry = "10.0.0.99:81"  # ! dr cannot change the port\n',
    "sorry is the virtual address": BASE + SERVICE + 'sorry = "10.0.0.10"  # ! is a virtual address\n',
    # --- checks ----------------------------------------------------------------------------------
    "option of another type": BASE
    + SERVICE.replace('"tcp"', '{ path = "/" }  # ! does not belong to a tcp check # ! http'),
    "option of another type, inherited": '[defaults.check]\ntype = "http"\n'
    + BASE
    + SERVICE.replace('"tcp"', '{ payload_size = 5 }  # ! does not belong to a http check # ! type = "ping"'),
    "option of another type in the defaults": '[defaults.check]\ntype = "ping"\npath = "/"  # ! does not belong to a ping check\n'
    + BASE
    + SERVICE.replace('check = "tcp"\n', ""),
    "option of another type at a realserver": BASE
    + SERVICE.replace(
        '"10.0.0.12"]',
        '\n{ address = "10.0.0.12", check = { host = "a" } }]  # ! does not belong to a tcp check',
    ),
    "regular expression": BASE
    + SERVICE.replace('"tcp"', '{ type = "http", body_regex = "(" }  # ! not a regular expression'),
    "path": BASE + SERVICE.replace('"tcp"', '{ type = "http", path = "x" }  # ! has to begin with /'),
    "digest": BASE + SERVICE.replace('"tcp"', '{ type = "http", digest = "x" }  # ! neither an MD5'),
    "interval": BASE + SERVICE.replace('"tcp"', '{ interval = "1ms" }  # ! shorter than 50 ms'),
    "interval in the defaults": '[defaults.check]\ninterval = "1ms"  # ! shorter than 50 ms\n'
    + BASE
    + SERVICE,
    "exec without a program": BASE + SERVICE.replace('"tcp"', '"exec"  # ! needs a program'),
    "file without a path": BASE + SERVICE.replace('"tcp"', '"file"  # ! needs a path'),
    "no port to check": BASE
    + '[[service]]\nfwmark = 5\ncheck = "http"  # ! needs a port\nrealservers = ["10.0.0.11"]\n',
    "bound to another family": BASE
    + SERVICE.replace('"tcp"', '{ bind_address = "fd00::1" }  # ! is IPv6, the target is IPv4'),
    "https without TLS": BASE
    + SERVICE.replace('"tcp"', '{ type = "https", tls = false }  # ! https speaks TLS'),
    "certificate without a key": BASE
    + SERVICE.replace('"tcp"', '{ type = "https", tls = { certificate_file = "/a" } }  # ! no key_file'),
    "password without a name": BASE
    + SERVICE.replace('"tcp"', '{ type = "http", password = "a" }  # ! has no username'),
    "two ways to log in": BASE
    + SERVICE.replace(
        '"tcp"', '{ type = "http", username = "a", authorization = "b" }  # ! contradicts username'
    ),
    "expect twice": BASE
    + SERVICE.replace('"tcp"', '{ expect = "a", expect_regex = "b" }  # ! contradicts expect'),
    "expect of odd bytes": BASE
    + SERVICE.replace('"tcp"', '{ expect = "hex:0" }  # ! pairs of hexadecimal digits'),
    "mask of another length": BASE
    + SERVICE.replace(
        '"tcp"', '{ type = "udp", expect = "ab", expect_mask = "hex:ff" }  # ! has 1 bytes, expect has 2'
    ),
    "replies the wrong way round": BASE
    + SERVICE.replace(
        '"tcp"', '{ type = "udp", minimum_reply = 9, maximum_reply = 8 }  # ! longer than the longest'
    ),
    # --- synchronisation, kernel, agent ----------------------------------------------------------
    "sync without an interface": DIRECTORS + "[sync]  # ! interface: is missing\nsyncid = 5\n",
    "sync without a number": DIRECTORS + '[sync]  # ! syncid: is missing\ninterface = "eth0"\n',
    "sync group": BASE + '[sync]\ngroup = "10.0.0.1"  # ! is not a multicast address\n',
    "sysctl outside of ipvs": BASE + "[sysctl]  # ! it belongs to [ipvs]\ndrop_entry = 3\n",
    "unknown sysctl": BASE + "[ipvs.sysctl]\nsync_treshold = 3  # ! does not exist # ! sync_threshold\n",
    "sysctl by its long name": BASE
    + '[ipvs.sysctl]\n"net.ipv4.vs.sloppy_tcp" = 1  # ! did you mean "sloppy_tcp"\n',
    "sysctl out of range": BASE + "[ipvs.sysctl]\nsync_retries = 4  # ! from 0 to 3\n",
    "sysctl of the wrong kind": BASE + "[ipvs.sysctl]\nsloppy_tcp = true  # ! is a number\n",
    "sysctl threshold": BASE + '[ipvs.sysctl]\nsync_threshold = "50 3"  # ! and a larger period\n',
    "sync_ports": BASE + "[ipvs.sysctl]\nsync_ports = 3  # ! is not a power of two\n",
    "time-out": BASE + '[ipvs.timeouts]\nudp = "100ms"  # ! whole seconds\n',
    "watchdog": BASE + '[agent]\nwatchdog_timeout = "4s"  # ! whole seconds from 5 s\n',
    "drift": BASE + '[agent]\ndrift_interval = "1ms"  # ! shorter than 50 ms\n',
    # --- several at once -------------------------------------------------------------------------
    "everything at once": DIRECTORS
    + """\
[[vrrp]]
interface = "eth0"
vrid = 510                                  # ! 510 is more than 255
addresses = ["10.0.0.10/24"]
[[service]]
address = "10.0.0.10:80"
schedular = "rr"                            # ! did you mean "scheduler"
quorum = 9                                  # ! more than the total weight
check = { typ = "http", path = "/" }        # ! did you mean "type"
realservers = [
    "10.0.0.11:8080",                       # ! dr cannot change the port
    { address = "10.0.0.12" },
]
[[service]]
address = "10.0.0.10:81"
scheduler = "xyz"                           # ! is not "rr"
realservers = [
    "10.0.0.11",
    "10.0.0.400",                           # ! is not an IP address
    { address = "10.0.0.11", weight = 2 },  # ! is already realservers[0]
]
[sync]
ttl = 0                                     # ! 0 is less than 1
[agent]
on_stop = "remain"                          # ! is not "remove" or "keep"
""",
    # --- warnings --------------------------------------------------------------------------------
    "same priorities": BASE.replace("priority = 200", "priority = 100").replace(
        "[[vrrp]]", "[[vrrp]]  # ? the same priority 100"
    )
    + SERVICE,
    "same priorities, given there": BASE + "priority = 50  # ? the same priority 50\n" + SERVICE,
    "same priorities and preempting": BASE
    + "preempt = true\npriority = 50  # ? no effect between equals\n"
    + SERVICE,
    "delay without preemption": BASE
    + 'preempt_delay = "30s"  # ? has no effect without preemption\n'
    + SERVICE,
    "delay in the defaults": '[defaults.vrrp]\npreempt_delay = "30s"  # ? has no effect without preemption\n'
    + BASE
    + SERVICE,
    "adverts faster than a busy machine": BASE + 'advert_interval = "10ms"  # ? a busy machine\n' + SERVICE,
    "no link-local address": DIRECTORS
    + '[[vrrp]]\ninterface = "eth0"\nvrid = 51\naddresses = ["fd00::10/64"]  # ? none of them is link-local\n',
    "too many IPv6 addresses for a packet": DIRECTORS
    + '[[vrrp]]\ninterface = "eth0"\nvrid = 51\n'
    + f"addresses = {['fe80::1', *(f'fd00::{n:x}' for n in range(1, 91))]}  # ? does not fit\n",
    "no virtual router": DIRECTORS + "[sync]\nenabled = false\n",
    "address that nobody carries": BASE
    + SERVICE.replace('10.0.0.10:80"', '10.0.0.99:80"  # ? no [[vrrp]] carries 10.0.0.99'),
    "no realservers": BASE + '[[service]]  # ? has no realservers\naddress = "10.0.0.10:80"\n',
    "all drained": BASE
    + SERVICE.replace(
        '["10.0.0.11", "10.0.0.12"]',
        '[{ address = "10.0.0.11", weight = 0 }]  # ? all realservers have weight 0',
    ),
    "hysteresis beyond the quorum": BASE + SERVICE + "hysteresis = 1  # ? is not less than quorum 1\n",
    "dh": BASE + SERVICE + 'scheduler = "dh"  # ? gives no answer\n',
    "director as realserver": BASE + SERVICE.replace('"10.0.0.12"]', '\n"10.0.0.2"]  # ? is director lb2'),
    "no check for udp": BASE
    + '[[service]]  # ? a ping only proves\naddress = "10.0.0.10:53"\nprotocol = "udp"\nrealservers = ["10.0.0.11"]\n',
    "certificate authority that is not used": BASE
    + SERVICE.replace(
        '"tcp"', '{ type = "https", tls = { verify = false, ca_file = "/a" } }  # ? is not verified'
    ),
    "maxlen that overflows": BASE + SERVICE + "[sync]\nmaxlen = 9224  # ? overflows\n",
    "no sync": BASE + SERVICE + "[sync]\nenabled = false  # ? resets every connection\n",
    "backup_only": BASE + SERVICE + "[ipvs.sysctl]\nbackup_only = 1  # ? forwards nothing\n",
    "several sync threads": BASE + SERVICE + "[ipvs.sysctl]\nsync_ports = 2  # ? cannot be pushed out\n",
    "old sync version": BASE + SERVICE + "[ipvs.sysctl]\nsync_version = 0  # ? carries no IPv6\n",
    "connection tracking": BASE + SERVICE + "[ipvs.sysctl]\nconntrack = 1  # ? do not survive\n",
}

WITHOUT_A_LINE = {"no virtual router": "no address moves when a director dies"}
"""Warnings about what is not there at all."""
