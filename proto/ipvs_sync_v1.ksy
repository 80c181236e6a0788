meta:
  id: ipvs_sync_v1
  title: IPVS connection synchronisation, version 1 (Linux 2.6.39 and later)
  license: MIT
  endian: be
doc: |
  One UDP datagram. It is version 1 if its byte 0 is 0, its byte 5 is 1 and its bytes 6 and 7 are 0;
  everything else is version 0.

  Parsing stops where a kernel drops the rest of the datagram: the entries parsed so far are those it
  has looked at. Entries that a kernel skips one by one (unknown protocol, state out of range) parse.
  Not said here: an option that comes twice is an error as well.
doc-ref: docs/reference/sync-protocol.md
seq:
  - id: reserved
    type: u1
    valid: 0
  - id: syncid
    type: u1
  - id: len_message
    type: u2
    valid: _io.size
    doc: Header included. Must be the datagram's length.
  - id: num_entries
    type: u1
  - id: version
    type: s1
    valid: 1
  - id: spare
    type: u2
    valid: 0
  - id: entries
    type: entry
    repeat: expr
    repeat-expr: num_entries
types:
  entry:
    seq:
      - id: padding
        size: (4 - _io.pos % 4) % 4
        doc: Brings the entry to a multiple of four from the start of the message. Counted in no size but the message's.
      - id: type
        type: u1
        valid:
          expr: _ == 0 or (_ & 1) == 1
        doc: Bit 0 is IPv6; with it set, the others are not looked at.
      - id: protocol
        type: u1
        enum: protocol
      - id: version
        type: b4
        valid: 0
      - id: len_entry
        type: b12
        valid:
          min: 'is_inet6 ? 72 : 36'
        doc: Fixed part and options.
      - id: body
        type: body(is_inet6)
        size: len_entry - 4
    instances:
      is_inet6:
        value: (type & 1) == 1
  body:
    params:
      - id: is_inet6
        type: bool
    seq:
      - id: flags
        type: u4
      - id: state
        type: u2
      - id: cport
        type: u2
      - id: vport
        type: u2
      - id: dport
        type: u2
      - id: fwmark
        type: u4
      - id: timeout
        type: u4
        doc: Seconds; the state's whole time-out. 0, the receiver's own.
      - id: caddr
        size: len_address
      - id: vaddr
        size: len_address
      - id: daddr
        size: len_address
      - id: options
        type: option
        if: not _io.eof
        repeat: until
        repeat-until: _io.eof or _.ends_entry
    instances:
      len_address:
        value: 'is_inet6 ? 16 : 4'
      is_template:
        value: (flags & 0x1000) != 0
  option:
    seq:
      - id: type
        type: u1
      - id: len_data
        type: u1
        valid:
          min: 1
      - id: data
        size: len_data
        type:
          switch-on: kind
          cases:
            1: sequence_data(len_data)
            3: engine_name(len_data)
            _: octets
    instances:
      may_be_skipped:
        value: (type & 0x40) != 0
        doc: By a receiver that does not know the option.
      ends_entry:
        value: kind != 1 and kind != 2 and kind != 3 and not may_be_skipped
        doc: The entry is skipped, whatever comes after this option.
      kind:
        value: type & 0xbf
        doc: 1 sequence data, 2 persistence engine's data, 3 persistence engine's name.
  octets:
    seq:
      - id: bytes
        size-eos: true
  sequence_data:
    params:
      - id: len_data
        type: u1
    seq:
      - id: in_seq
        type: sequence_delta
        valid:
          expr: len_data == 24
      - id: out_seq
        type: sequence_delta
  sequence_delta:
    seq:
      - id: init_seq
        type: u4
      - id: delta
        type: u4
      - id: previous_delta
        type: u4
  engine_name:
    params:
      - id: len_data
        type: u1
    seq:
      - id: bytes
        size-eos: true
        valid:
          expr: len_data <= 16
enums:
  protocol:
    0: ip
    6: tcp
    17: udp
    50: esp
    51: ah
    132: sctp
