-- IPVS connection synchronisation, versions 0 and 1, for Wireshark and tshark 3.6 and later.
--
--   tshark -X lua_script:lvsha.lua -r sync.pcap -V
--   cp lvsha.lua ~/.local/lib/wireshark/plugins/        for good
--
-- Takes the place of the stock "ipvs" dissector on its UDP port and on the three after it (sync_ports). It reads
-- what a kernel reads, in its order: lvsha_sync.verdict says of each entry whether a backup daemon installs it
-- ("installed"), or why it does not, with the names that `lvsha sync decode` uses.
-- The protocol is described in docs/reference/sync-protocol.md. No bit operators: Lua 5.2 has none.

local sync = Proto("lvsha_sync", "IPVS connection synchronisation")

local PROTOCOLS = { [0] = "IP", [6] = "TCP", [17] = "UDP", [50] = "ESP", [51] = "AH", [132] = "SCTP" }
local METHODS = { [0] = "MASQ", "LOCALNODE", "TUNNEL", "DROUTE", "BYPASS" }
local OPTIONS = { "sequence data", "PE data", "PE name" }
local TEMPLATE_STATES = { [0] = "NONE", "ASSURED" }
local STATES = {
  [6] = {
    [0] = "NONE", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "SYNACK",
  },
  [17] = { [0] = "UDP" },
  [50] = { [0] = "NONE" },
  [51] = { [0] = "NONE" },
  [132] = {
    [0] = "NONE", "INIT1", "INIT", "C-SENT", "C-REPLIED", "C-WAIT", "COOKIE", "C-ECHOED", "ESTABLISHED", "S-SENT",
    "S-RECEIVED", "S-ACK-SENT", "REJECTED", "CLOSED",
  },
}
local FLAGS = {
  { 0x20, "sync", "SYNC: the sender learned it by sync" },
  { 0x40, "hashed", "HASHED" },
  { 0x80, "nooutput", "NOOUTPUT: answers do not pass the director" },
  { 0x100, "inactive", "INACTIVE" },
  { 0x200, "out_seq", "OUT_SEQ" },
  { 0x400, "in_seq", "IN_SEQ" },
  { 0x800, "no_cport", "NO_CPORT: the client's port is not known yet" },
  { 0x1000, "template", "TEMPLATE: persistence, not a connection" },
  { 0x2000, "one_packet", "ONE_PACKET" },
  { 0x10000, "nfct", "NFCT: the sender uses conntrack" },
}

local f = {
  version = ProtoField.uint8("lvsha_sync.version", "Version"),
  syncid = ProtoField.uint8("lvsha_sync.syncid", "Sync ID"),
  size = ProtoField.uint16("lvsha_sync.size", "Size"),
  nr_conns = ProtoField.uint8("lvsha_sync.nr_conns", "Entries"),
  reserved = ProtoField.uint8("lvsha_sync.reserved", "Reserved"),
  spare = ProtoField.uint16("lvsha_sync.spare", "Spare", base.HEX),
  type = ProtoField.uint8("lvsha_sync.type", "Type", base.HEX),
  protocol = ProtoField.uint8("lvsha_sync.protocol", "Protocol", base.DEC, PROTOCOLS),
  entry_version = ProtoField.uint16("lvsha_sync.entry_version", "Entry version", base.DEC, nil, 0xF000),
  entry_size = ProtoField.uint16("lvsha_sync.entry_size", "Entry size", base.DEC, nil, 0x0FFF),
  flags = ProtoField.uint32("lvsha_sync.flags", "Flags", base.HEX),
  method = ProtoField.uint32("lvsha_sync.flags.method", "Forwarding method", base.DEC, METHODS, 0x7),
  state = ProtoField.uint16("lvsha_sync.state", "State"),
  state_name = ProtoField.string("lvsha_sync.state_name", "State name"),
  cport = ProtoField.uint16("lvsha_sync.cport", "Client port"),
  vport = ProtoField.uint16("lvsha_sync.vport", "Virtual port"),
  dport = ProtoField.uint16("lvsha_sync.dport", "Destination port"),
  fwmark = ProtoField.uint32("lvsha_sync.fwmark", "Firewall mark"),
  timeout = ProtoField.uint32("lvsha_sync.timeout", "Time-out (s)"),
  caddr = ProtoField.ipv4("lvsha_sync.caddr", "Client address"),
  vaddr = ProtoField.ipv4("lvsha_sync.vaddr", "Virtual address"),
  daddr = ProtoField.ipv4("lvsha_sync.daddr", "Destination address"),
  caddr6 = ProtoField.ipv6("lvsha_sync.caddr6", "Client address"),
  vaddr6 = ProtoField.ipv6("lvsha_sync.vaddr6", "Virtual address"),
  daddr6 = ProtoField.ipv6("lvsha_sync.daddr6", "Destination address"),
  options = ProtoField.bytes("lvsha_sync.options", "Options"),
  option_type = ProtoField.uint8("lvsha_sync.option.type", "Option type", base.HEX),
  option_length = ProtoField.uint8("lvsha_sync.option.length", "Option length"),
  option_data = ProtoField.bytes("lvsha_sync.option.data", "Option data"),
  pe_name = ProtoField.string("lvsha_sync.pe_name", "Persistence engine"),
  pe_data = ProtoField.bytes("lvsha_sync.pe_data", "Persistence engine's data"),
  verdict = ProtoField.string("lvsha_sync.verdict", "Verdict"),
  problem = ProtoField.string("lvsha_sync.problem", "Problem"),
}
local SEQUENCE = {}
for _, way in ipairs({ "in", "out" }) do
  for _, name in ipairs({ "init_seq", "delta", "previous_delta" }) do
    local field = ProtoField.uint32("lvsha_sync." .. way .. "_seq." .. name, way .. "_seq " .. name)
    f[way .. name] = field
    SEQUENCE[#SEQUENCE + 1] = field
  end
end
for _, flag in ipairs(FLAGS) do
  flag.v1 = ProtoField.bool("lvsha_sync.flags." .. flag[2], flag[3], 32, nil, flag[1])
  f["flag_" .. flag[2]] = flag.v1
end
sync.fields = f

local lost = ProtoExpert.new("lvsha_sync.lost", "Not installed", expert.group.MALFORMED, expert.severity.ERROR)
local odd = ProtoExpert.new("lvsha_sync.odd", "Odd", expert.group.PROTOCOL, expert.severity.WARN)
sync.experts = { lost, odd }

local function has(flags, bit)
  return math.floor(flags / bit) % 2 == 1
end

local function state_name(protocol, state, template)
  local names = template and TEMPLATE_STATES or STATES[protocol] or {}
  return names[state] or ("#" .. state)
end

local function problem(tree, range, reason, detail, is_lost)
  local item = tree:add(f.problem, range, reason)
  item:add_proto_expert_info(is_lost and lost or odd, reason .. ": " .. detail)
end

-- Why a kernel does not install an entry whose options are sound, or nil. Known: 0xBF masks the "may be skipped" bit.
local function skipped(protocol, state, template)
  if template then return nil end
  if STATES[protocol] == nil then return "unknown_protocol" end
  if STATES[protocol][state] == nil then return "bad_state" end
end

local function sequence_data(tree, range)
  for number, field in ipairs(SEQUENCE) do
    tree:add(field, range(4 * number - 4, 4))
  end
end

-- Walks the options as a kernel does. Gives a reason and whether the rest of the message is lost with it.
local function options(tree, range)
  local seen, at, length = {}, 0, range:len()
  while at < length do
    if at + 2 > length then return "option_truncated", true end
    local raw, size = range(at, 1):uint(), range(at + 1, 1):uint()
    local optional = has(raw, 0x40)
    local kind = optional and raw - 0x40 or raw
    if size == 0 or at + 2 + size > length then return "bad_option_length", true end
    local data = range(at + 2, size)
    local branch = tree:add(f.options, range(at, size + 2))
    branch:set_text("Option: " .. (OPTIONS[kind] or ("unknown " .. kind)) .. (optional and ", may be skipped" or ""))
    branch:add(f.option_type, range(at, 1))
    branch:add(f.option_length, range(at + 1, 1))
    if kind == 1 then
      if seen[1] or size ~= 24 then return "bad_sequence_option", true end
      sequence_data(branch, data)
    elseif kind == 2 then
      if seen[2] then return "bad_pe_data", true end
      branch:add(f.pe_data, data)
    elseif kind == 3 then
      if seen[3] or size > 16 then return "bad_pe_name", true end
      branch:add(f.pe_name, data)
    else
      branch:add(f.option_data, data)
      if not optional then return "unknown_option", false end
    end
    seen[kind] = true
    at = at + 2 + size
  end
  return nil, false, seen[2] and not seen[3]
end

local function addresses(tree, tvb, at, inet6)
  local width, suffix = inet6 and 16 or 4, inet6 and "6" or ""
  for number, name in ipairs({ "caddr", "vaddr", "daddr" }) do
    tree:add(f[name .. suffix], tvb(at + (number - 1) * width, width))
  end
end

local function conclude(tree, range, verdict, rest)
  tree:add(f.verdict, range, verdict)
  tree:append_text(", " .. verdict)
  if verdict ~= "installed" then
    local cost = rest and "this entry and all after it are lost" or "this entry is skipped"
    problem(tree, range, verdict, cost, true)
  end
end

-- One v1 entry. Gives its size, and whether the receiver goes on after it.
local function entry_v1(tvb, at, tree, number)
  local left = tvb:len() - at
  if left < 36 then
    problem(tree, tvb(at), "entry_truncated", "the message ends in entry " .. number, true)
    return 0, false
  end
  local kind, protocol, word = tvb(at, 1):uint(), tvb(at + 1, 1):uint(), tvb(at + 2, 2):uint()
  local size, version = word % 4096, math.floor(word / 4096)
  local inet6 = kind % 2 == 1
  local fixed = inet6 and 72 or 36
  local range = tvb(at, math.min(math.max(size, 36), left))
  local branch = tree:add(sync, range, "Entry " .. number)
  branch:add(f.type, tvb(at, 1))
  branch:add(f.protocol, tvb(at + 1, 1))
  branch:add(f.entry_version, tvb(at + 2, 2))
  branch:add(f.entry_size, tvb(at + 2, 2))
  local fault
  if size > left then fault = "entry_overrun"
  elseif version ~= 0 then fault = "bad_entry_version"
  elseif not inet6 and kind ~= 0 then fault = "bad_entry_type"
  elseif size < fixed then fault = "entry_too_small" end
  if fault then
    conclude(branch, range, fault, true)
    return size, false
  end

  local flags, state = tvb(at + 4, 4):uint(), tvb(at + 8, 2):uint()
  local template = has(flags, 0x1000)
  local flag_tree = branch:add(f.flags, tvb(at + 4, 4))
  flag_tree:add(f.method, tvb(at + 4, 4))
  for _, flag in ipairs(FLAGS) do flag_tree:add(flag.v1, tvb(at + 4, 4)) end
  branch:add(f.state, tvb(at + 8, 2))
  branch:add(f.state_name, tvb(at + 8, 2), state_name(protocol, state, template))
  branch:add(f.cport, tvb(at + 10, 2))
  branch:add(f.vport, tvb(at + 12, 2))
  branch:add(f.dport, tvb(at + 14, 2))
  branch:add(f.fwmark, tvb(at + 16, 4))
  branch:add(f.timeout, tvb(at + 20, 4))
  addresses(branch, tvb, at + 24, inet6)
  branch:append_text(": " .. (PROTOCOLS[protocol] or protocol) .. " " .. state_name(protocol, state, template))

  local reason, rest, nameless
  if size > fixed then reason, rest, nameless = options(branch, tvb(at + fixed, size - fixed)) end
  reason = reason or skipped(protocol, state, template) or (nameless and "pe_incomplete")
  conclude(branch, range, reason or "installed", rest)
  return size, not rest
end

local function entry_v0(tvb, at, tree, number)
  local left = tvb:len() - at
  if left < 24 then
    problem(tree, tvb(at), "entry_truncated", "the message ends in entry " .. number, true)
    return 0, false
  end
  local protocol, flags, state = tvb(at + 1, 1):uint(), tvb(at + 20, 2):uint(), tvb(at + 22, 2):uint()
  local template = has(flags, 0x1000)
  local size = (has(flags, 0x200) or has(flags, 0x400)) and 48 or 24
  local range = tvb(at, math.min(size, left))
  local branch = tree:add(sync, range, "Entry " .. number)
  branch:add(f.reserved, tvb(at, 1))
  branch:add(f.protocol, tvb(at + 1, 1))
  branch:add(f.cport, tvb(at + 2, 2))
  branch:add(f.vport, tvb(at + 4, 2))
  branch:add(f.dport, tvb(at + 6, 2))
  addresses(branch, tvb, at + 8, false)
  local flag_tree = branch:add(f.flags, tvb(at + 20, 2))
  flag_tree:add(f.method, tvb(at + 20, 2), flags)
  for _, flag in ipairs(FLAGS) do
    if flag[1] < 0x10000 then flag_tree:add(flag.v1, tvb(at + 20, 2), flags) end
  end
  branch:add(f.state, tvb(at + 22, 2))
  branch:add(f.state_name, tvb(at + 22, 2), state_name(protocol, state, template))
  branch:append_text(": " .. (PROTOCOLS[protocol] or protocol) .. " " .. state_name(protocol, state, template))
  if size > left then
    conclude(branch, range, "entry_overrun", true)
    return size, false
  end
  if size == 48 then
    -- In their sender's byte order, which the message does not tell: most directors are little endian.
    for place, field in ipairs(SEQUENCE) do branch:add_le(field, tvb(at + 20 + 4 * place, 4)) end
  end
  conclude(branch, range, skipped(protocol, state, template) or "installed", false)
  return size, true
end

local function entries(tvb, at, count, tree, entry, align)
  for number = 0, count - 1 do
    if at >= tvb:len() then
      problem(tree, tvb(0, 0), "entry_truncated", "the message says " .. count .. " entries, here are " .. number, true)
      return
    end
    local size, goes_on = entry(tvb, at, tree, number)
    if not goes_on then return end
    at = at + math.ceil(size / align) * align
  end
  if at < tvb:len() then
    problem(tree, tvb(at), "trailing_bytes", (tvb:len() - at) .. " bytes after the last entry", false)
  end
end

function sync.dissector(tvb, info, root)
  if tvb:len() < 4 then return 0 end
  info.cols.protocol = "IPVS-SYNC"
  local tree = root:add(sync, tvb(), "IPVS connection synchronisation")
  local first = tvb(0, 1):uint()
  local is_v1 = tvb:len() >= 8 and first == 0 and tvb(5, 1):uint() == 1 and tvb(6, 2):uint() == 0
  local count = is_v1 and tvb(4, 1):uint() or first
  tree:add(f.version, is_v1 and tvb(5, 1) or tvb(0, 0), is_v1 and 1 or 0)
  tree:add(f.syncid, tvb(1, 1))
  tree:add(f.size, tvb(2, 2))
  tree:add(f.nr_conns, is_v1 and tvb(4, 1) or tvb(0, 1))
  if is_v1 then
    tree:add(f.reserved, tvb(0, 1))
    tree:add(f.spare, tvb(6, 2))
  end
  info.cols.info = string.format("v%d syncid %d, %d entries", is_v1 and 1 or 0, tvb(1, 1):uint(), count)
  if tvb(2, 2):uint() ~= tvb:len() then
    problem(tree, tvb(2, 2), "bad_message_size", "the datagram has " .. tvb:len() .. " bytes: it is dropped whole", true)
    return tvb:len()
  end
  if is_v1 then
    entries(tvb, 8, count, tree, entry_v1, 4)
  elseif first == 0 then
    if tvb:len() > 4 then
      local reason = tvb:len() < 8 and "truncated" or "bad_version"
      problem(tree, tvb(0, 1), reason, "read as version 0 with no entries", true)
    end
  else
    entries(tvb, 4, count, tree, entry_v0, 1)
  end
  return tvb:len()
end

for port = 8848, 8851 do
  DissectorTable.get("udp.port"):add(port, sync)
end
