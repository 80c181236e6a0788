meta:
  id: vrrp_v3
  title: VRRP version 3 ADVERTISEMENT (RFC 9568)
  license: MIT
  endian: be
doc: What an IPv4 or IPv6 packet of protocol 112 carries. The checksum needs the IP addresses and is the caller's.
doc-ref: RFC 9568 section 5
params:
  - id: is_inet6
    type: bool
seq:
  - id: version
    type: b4
    valid: 3
  - id: type
    type: b4
    valid: 1
  - id: vrid
    type: u1
  - id: priority
    type: u1
    doc: "0: the master is giving up the address. 255: its owner."
  - id: num_addresses
    type: u1
    valid:
      expr: _ >= 1 and 8 + _ * len_address == _io.size
    doc: "0 is ignored whole: erratum 8299."
  - id: reserved
    type: b4
  - id: max_advertise_interval
    type: b12
    valid:
      min: 1
    doc: "Centiseconds. 0: erratum 8301."
  - id: checksum
    type: u2
  - id: addresses
    size: len_address
    repeat: expr
    repeat-expr: num_addresses
instances:
  len_address:
    value: 'is_inet6 ? 16 : 4'
