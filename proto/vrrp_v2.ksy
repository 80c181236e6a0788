meta:
  id: vrrp_v2
  title: VRRP version 2 ADVERTISEMENT (RFC 3768)
  license: MIT
  endian: be
doc: What an IPv4 packet of protocol 112 carries. The checksum covers it whole and is the caller's.
doc-ref: RFC 3768 section 5
seq:
  - id: version
    type: b4
    valid: 2
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
      expr: _ >= 1 and 16 + _ * 4 == _io.size
  - id: auth_type
    type: u1
    doc: 0 none, 1 simple text, 2 AH; RFC 3768 keeps 1 and 2 for RFC 2338's sake.
  - id: advertisement_interval
    type: u1
    valid:
      min: 1
    doc: Seconds.
  - id: checksum
    type: u2
  - id: addresses
    size: 4
    repeat: expr
    repeat-expr: num_addresses
  - id: auth_data
    size: 8
