meta:
  id: ipvs_sync_v0
  title: IPVS connection synchronisation, version 0 (before Linux 2.6.39, and with sync_version 0)
  license: MIT
  endian: be
doc: |
  One UDP datagram that is not version 1. IPv4 only.

  Parsing stops where a kernel drops the rest of the datagram.
doc-ref: docs/reference/sync-protocol.md
params:
  - id: sender_is_big_endian
    type: bool
    doc: Sequence data travel in their sender's byte order, which the message does not tell.
seq:
  - id: num_entries
    type: u1
  - id: syncid
    type: u1
  - id: len_message
    type: u2
    valid: _io.size
    doc: Header included. Must be the datagram's length.
  - id: entries
    type: entry
    repeat: expr
    repeat-expr: num_entries
types:
  entry:
    seq:
      - id: reserved
        type: u1
        doc: 0; not looked at.
      - id: protocol
        type: u1
      - id: cport
        type: u2
      - id: vport
        type: u2
      - id: dport
        type: u2
      - id: caddr
        size: 4
      - id: vaddr
        size: 4
      - id: daddr
        size: 4
      - id: flags
        type: u2
      - id: state
        type: u2
      - id: sequence_data
        type: sequence_data(_root.sender_is_big_endian)
        if: (flags & 0x0600) != 0
  sequence_data:
    meta:
      endian:
        switch-on: is_big_endian
        cases:
          true: be
          false: le
    params:
      - id: is_big_endian
        type: bool
    seq:
      - id: in_init_seq
        type: u4
      - id: in_delta
        type: u4
      - id: in_previous_delta
        type: u4
      - id: out_init_seq
        type: u4
      - id: out_delta
        type: u4
      - id: out_previous_delta
        type: u4
