"use strict";

// One page over the API of one director: the status as it is, and what changes as it changes.
// Whoever asks through the Unix socket needs no token; over TLS the page asks for one.

const KEPT_CHANGES = 200;
const KEPT_RATES = 60;
const POLL_MS = 2000;
const OPEN_UP_TO = 200; // realservers; more services than that begin closed
const ROWS_UP_TO = 200; // realservers of one service that are shown; the search finds the others
const PICTURE_S = 2; // how old a large director's picture of itself may be

const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem("lvsha-token") || "";
let me = { name: "", role: "read", services: null };
let status = null;
let lastId = "";
const rates = new Map(); // "service" or "service/realserver" -> connections a second, oldest first
const opened = new Map(); // service -> what the reader has opened or closed by hand
let changes = [];

// --- elements -----------------------------------------------------------------

function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== ""));
  return element;
}

function spark(key, label) {
  const values = rates.get(key) || [];
  const top = Math.max(1, ...values);
  const points = values.map((value, at) => `${at},${(20 - (value / top) * 18).toFixed(1)}`).join(" ");
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${KEPT_RATES - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${label}: ${values.length ? values[values.length - 1] : 0} now, ${top} at most`);
  const line = document.createElementNS(space, "polyline");
  line.setAttribute("points", points);
  svg.append(line);
  return svg;
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const clock = (seconds) => new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });

// --- the director -------------------------------------------------------------

class Refused extends Error {
  constructor(code, body) {
    super(body.error || `the director answered ${code}`);
    this.code = code;
    this.body = body;
  }
}

async function ask(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, {
    method: body ? "POST" : "GET", headers, body: body ? JSON.stringify(body) : undefined, cache: "no-store",
  });
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) {
    await askToken(token ? "That token is not known." : "");
    return ask(path, body);
  }
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

let asking = null;

function askToken(error) {
  asking ||= dialog({
    title: "Who are you?", text: "This director answers to those who have a token.", yes: "Go on", error,
    fields: [{ name: "token", label: "Token", type: "password", required: true }],
    act: async (values) => {
      token = values.token;
      sessionStorage.setItem("lvsha-token", token);
    },
  }).finally(() => { asking = null; });
  return asking;
}

let refreshing = false;
let again = false;
let rests = 0; // when the next question is due: a large answer is not asked for with each of many events

async function refresh() {
  if (refreshing) { again = true; return; }
  refreshing = true;
  const begun = performance.now();
  try {
    status = await ask("v1/status");
    for (const change of [...changes].reverse()) if (change.at > status.at - PICTURE_S) apply(change);
    remember();
    render();
    said("live", "good");
  } catch (error) {
    said(`no answer: ${error.message}`, "bad");
  } finally {
    refreshing = false;
    rests = performance.now() + 4 * (performance.now() - begun);
    if (again) { again = false; soon(); }
  }
}

let waiting = 0;

function soon() {
  waiting ||= setTimeout(() => { waiting = 0; refresh(); }, Math.max(0, rests - performance.now()));
}

const toDraw = new Set();

function draw(part) { // once a frame, however many events came
  if (!toDraw.size) requestAnimationFrame(() => { const parts = [...toDraw]; toDraw.clear(); for (const each of parts) each(); });
  toDraw.add(part);
}

function apply(change) { // what an event says is newer than a picture that was made before it
  if (change.what !== "weight") return;
  const service = status.services.find((each) => each.name === change.service);
  const row = service && service.destinations.find((each) => each.name === change.realserver);
  if (row) row.kernel_weight = change.after;
}

function said(text, kind) {
  if ($("link").textContent !== text) {
    $("link").textContent = text;
    $("link").className = kind;
  }
}

function remember() {
  const add = (key, value) => {
    const values = rates.get(key) || [];
    values.push(value);
    if (values.length > KEPT_RATES) values.shift();
    rates.set(key, values);
  };
  for (const service of status.services) {
    add(service.name, service.connection_rate);
    if (isOpen(service)) {
      for (const row of chosen(service)) add(`${service.name}/${row.name}`, row.connection_rate);
    }
  }
}

async function listen() {
  for (;;) {
    try {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      if (lastId) headers["Last-Event-ID"] = lastId;
      const response = await fetch("v1/events", { headers, cache: "no-store" });
      if (!response.ok) throw new Error(String(response.status));
      await loadHistory();
      refresh();
      await read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch { /* said by refresh */ }
    refresh();
    await new Promise((done) => setTimeout(done, 1000));
  }
}

async function read(reader) {
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) take(block);
  }
}

function take(block) {
  const field = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) field[line.slice(0, at)] = line.slice(at + 2);
  }
  if (field.id) lastId = field.id;
  if (!field.data) return;
  if (field.event === "change") addChange(JSON.parse(field.data));
  if (field.event === "gap") loadHistory();
  soon();
}

async function loadHistory() {
  const answer = await ask(`v1/history?limit=${KEPT_CHANGES}`);
  changes = answer.changes.slice().reverse();
  renderTimeline();
}

function addChange(change) {
  if (changes.some((other) => other.id === change.id)) return;
  changes.unshift(change);
  changes.length = Math.min(changes.length, KEPT_CHANGES);
  draw(renderTimeline);
  if (status && change.what === "weight") {
    apply(change);
    draw(renderServices);
  }
}

// --- the page -----------------------------------------------------------------

function render() {
  document.title = `${status.ok ? "" : "! "}lvsha ${status.node}`;
  $("node").textContent = status.node;
  $("verdict").textContent = status.ok ? "all is well" : `${status.problems.length} to look at`;
  $("verdict").className = status.ok ? "good" : "bad";
  $("problems").hidden = status.ok;
  replace($("problems").firstElementChild, status.problems.map((text) => el("li", {}, text)));
  renderPair();
  renderServices();
  const paused = status.overrides.some((order) => order.kind === "pause");
  $("pause").hidden = paused;
  $("resume").hidden = !paused;
  allow(document);
}

function replace(parent, children) {
  const held = document.activeElement && document.activeElement.dataset.key;
  parent.replaceChildren(...children);
  if (held) {
    const same = parent.querySelector(`[data-key="${CSS.escape(held)}"]`);
    if (same) same.focus();
  }
}

const ROLES = { read: 1, operate: 2, admin: 3 };

function allow(where) {
  for (const button of where.querySelectorAll("button[data-role]")) {
    const service = button.dataset.service;
    const inScope = !me.services || (service && me.services.includes(service));
    const may = ROLES[me.role] >= ROLES[button.dataset.role] && inScope;
    button.disabled = !may;
    button.title = may ? "" : `${me.name} may not`;
  }
}

function renderPair() {
  const routers = status.vrrp.routers || [];
  const cards = [el("article", { class: "card", "aria-label": `this director, ${status.node}` },
    el("h3", {}, `${status.node} (this one)`),
    ...routers.map((router) => el("p", {},
      el("span", { class: `role ${router.state === "MASTER" ? "good" : router.state === "FAULT" ? "bad" : ""}` }, router.state),
      ` of ${router.addresses.join(", ")} for ${duration(router.since_s)}`,
      router.fault ? el("span", { class: "bad" }, ` ${router.fault}`) : "")),
    routers.length ? "" : el("p", { class: "faint" }, "no virtual routers"),
    el("p", { class: "faint" }, `configuration ${status.config.generation}, up ${duration(status.uptime_s)}`))];
  const relay = status.sync && status.sync.relay;
  for (const peer of status.peers || []) {
    const heard = relay && relay.peers.find((each) => each.name === peer.name);
    const masters = routers.filter((router) => router.master && router.master === peer.address);
    cards.push(el("article", { class: "card", "aria-label": `director ${peer.name}` },
      el("h3", {}, peer.name),
      masters.length ? el("p", {}, el("span", { class: "role good" }, "MASTER"), ` of ${masters.map((each) => each.name).join(", ")}`) : "",
      el("p", {}, peer.address || ""),
      heard ? el("p", { class: heard.connected ? "good" : "bad" }, heard.connected ? "connected by the relay" : "not connected by the relay") : "",
      heard && heard.connected ? el("p", { class: "faint" }, `${heard.connections} connections there, lag ${heard.lag_ms} ms`) : ""));
  }
  if (relay) {
    const lost = relay.would_lose;
    cards.push(el("article", { class: "card", "aria-label": "connection synchronisation" },
      el("h3", {}, "If this director died now"),
      el("p", {}, el("span", { class: `big ${lost ? "bad" : "good"}`, id: "would-lose" }, String(lost)), ` of ${relay.connections} connections would be lost`),
      el("p", { class: "faint" }, `coverage ${(relay.coverage * 100).toFixed(2)} %; ${relay.gate.open ? "the gate is open" : `held back: ${relay.gate.reason}`}`)));
  }
  replace($("pair"), cards);
}

function isOpen(service) {
  if (opened.has(service.name)) return opened.get(service.name);
  const rows = status.services.reduce((sum, each) => sum + each.destinations.length, 0);
  return rows <= OPEN_UP_TO;
}

function renderServices() {
  drawServices();
  allow($("services"));
}

function drawServices() {
  const wanted = $("find").value.trim().toLowerCase();
  const fits = (service) => !wanted || [service.name, service.service,
    ...service.destinations.flatMap((row) => [row.name, row.address])].some((text) => text.toLowerCase().includes(wanted));
  const found = status.services.filter(fits);
  replace($("services"), found.slice(0, 500).map(serviceView));
  if (found.length > 500) $("services").append(el("p", {}, `and ${found.length - 500} more: find them by name`));
  if (!found.length) $("services").append(el("p", { class: "faint" }, wanted ? "nothing has that name" : "no services are configured"));
}

function serviceView(service) {
  const down = service.destinations.filter((row) => row.state === "down").length;
  const open = isOpen(service);
  const view = el("details", { open, ontoggle: (event) => {
    if (event.target.open !== isOpen(service)) {
      opened.set(service.name, event.target.open);
      renderServices();
    }
  } },
    el("summary", { "data-key": `summary ${service.name}` },
      el("h3", {}, service.name),
      el("span", { class: "faint" }, service.service),
      el("span", { class: service.quorum_met ? "good" : "bad" }, service.quorum_met ? "quorum" : "quorum lost"),
      el("span", { class: down ? "bad" : "faint" }, `${service.alive_servers} of ${service.destinations.length} up`),
      el("span", {}, `${service.connection_rate} new/s `, spark(service.name, "new connections a second"))));
  if (open) view.append(el("div", { class: "scroll" }, table(service)));
  return view;
}

function table(service) {
  const heads = ["Realserver", "State", "Weight", "Active", "Inactive", "New/s", "Last check", "Orders"];
  const numbers = new Set(["Weight", "Active", "Inactive", "New/s"]);
  const rows = chosen(service);
  const more = service.destinations.length - rows.length;
  return el("table", {},
    el("caption", { class: "skip" }, `Realservers of ${service.name}`),
    el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col", class: numbers.has(head) ? "number" : "" }, head)))),
    el("tbody", {}, ...rows.map((row) => rowView(service, row))),
    more ? el("tfoot", {}, el("tr", {}, el("td", { colspan: heads.length, class: "faint" }, `and ${more} more: find them by name`))) : "");
}

function chosen(service) { // all, or of many those that are looked for, and those first that are not up
  if (service.destinations.length <= ROWS_UP_TO) return service.destinations;
  const wanted = $("find").value.trim().toLowerCase();
  const found = wanted ? service.destinations.filter((row) => row.name.toLowerCase().includes(wanted) || row.address.includes(wanted)) : [];
  const rows = found.length ? found : service.destinations;
  if (rows.length <= ROWS_UP_TO) return rows;
  return [...rows.filter((row) => row.state !== "up"), ...rows.filter((row) => row.state === "up")].slice(0, ROWS_UP_TO);
}

function rowView(service, row) {
  const check = row.last_check;
  const colour = { up: "good", down: "bad" }[row.state] || "warn";
  const drained = row.orders.includes("drain");
  const disabled = row.orders.includes("disable");
  const target = `${service.name}/${row.name}`;
  const button = (label, act, key) => el("button", {
    type: "button", "data-role": "operate", "data-service": service.name, "data-key": `${key} ${target}`,
    "aria-label": `${label} ${row.name} of ${service.name}`, onclick: act,
  }, label);
  const drain = row.drain ? `draining: ${row.drain.connections} left${row.drain.eta_s === null ? "" : `, about ${duration(row.drain.eta_s)}`}` : "";
  return el("tr", { "data-realserver": target },
    el("th", { scope: "row" }, row.name, el("div", { class: "faint" }, `${row.address}:${row.port}`)),
    el("td", { class: colour }, row.state, el("div", { class: "faint" }, duration(row.since_s))),
    el("td", { class: "number" }, String(row.kernel_weight ?? "out"),
      row.kernel_weight === row.configured_weight ? "" : el("div", { class: "faint" }, `configured ${row.configured_weight}`)),
    el("td", { class: "number" }, String(row.active_connections)),
    el("td", { class: "number" }, String(row.inactive_connections)),
    el("td", { class: "number" }, `${row.connection_rate} `, spark(target, `new connections a second to ${row.name}`)),
    el("td", { class: "evidence" }, check ? `${check.ok ? "good" : `${check.reason} ${check.detail}`}, ${check.took_ms} ms, ${duration(check.ago_s)} ago` : ""),
    el("td", {}, drain || row.orders.join(", "), " ",
      drained ? button("Undrain", () => order("undrain", target), "drain") : button("Drain…", () => confirmDrain(target), "drain"), " ",
      disabled ? button("Enable", () => order("enable", target), "disable") : button("Disable…", () => confirmOrder("disable", target, "It gets no new connections until it is enabled."), "disable"), " ",
      button("Weight…", () => confirmWeight(target, row), "weight")));
}

function renderTimeline() {
  replace($("timeline"), changes.map((change) => {
    const node = change.causes.flatMap((cause) => cause.evidence.node || []).at(0);
    return el("li", {},
      el("time", { datetime: new Date(change.at * 1000).toISOString() }, clock(change.at)),
      el("div", {}, `${change.what} of ${change.subject}: ${change.before ?? "–"} → ${change.after ?? "out"}`,
        ...change.causes.map((cause) => el("div", { class: "cause" }, `because ${cause.text}${node ? ` (${node})` : ""}`))));
  }));
}

// --- orders -------------------------------------------------------------------

function dialog({ title, text, yes, fields = [], act, error = "" }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-error").textContent = error;
  const inputs = fields.map((field) => el("input", {
    name: field.name, type: field.type || "text", required: field.required || false, min: field.min ?? null, value: field.value ?? "",
  }));
  $("ask-fields").replaceChildren(...fields.map((field, at) => el("label", {}, field.label, inputs[at])));
  const box = $("ask");
  if (!box.open) box.showModal();
  return new Promise((done) => {
    const form = box.querySelector("form");
    const end = () => {
      form.onsubmit = $("ask-no").onclick = box.oncancel = null;
      box.close();
      done();
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      $("ask-yes").disabled = true;
      try {
        await act(Object.fromEntries(inputs.map((input) => [input.name, input.value])));
        end();
      } catch (problem) {
        const lost = problem.body && problem.body.would_lose;
        $("ask-error").textContent = lost ? `${problem.message} (${Array.isArray(lost) ? lost.length : lost} connections)` : problem.message;
      } finally {
        $("ask-yes").disabled = false;
      }
    };
    $("ask-no").onclick = box.oncancel = end;
  });
}

async function order(kind, target, more = {}) {
  try {
    await ask(`v1/${kind}`, { target, ...more });
    refresh();
  } catch (problem) {
    dialog({ title: `${kind} was refused`, text: problem.message, yes: "All right", act: async () => {} });
  }
}

const REASON = { name: "reason", label: "Reason (others see it)" };
const submit = (path, body) => ask(path, body).then(refresh);

function confirmOrder(kind, target, text) {
  dialog({ title: `${kind} ${target}?`, text, yes: kind, fields: [REASON],
    act: ({ reason }) => submit(`v1/${kind}`, { target, reason }) });
}

function confirmDrain(target) {
  dialog({ title: `Drain ${target}?`, yes: "Drain", text: "It gets no new connections, and leaves when the old ones have ended.",
    fields: [REASON, { name: "deadline", label: "Cut what is left after (seconds; empty: never)", type: "number", min: 1 }],
    act: ({ reason, deadline }) => submit("v1/drain", { target, reason, ...(deadline ? { deadline_s: Number(deadline) } : {}) }) });
}

function confirmWeight(target, row) {
  dialog({ title: `Weight of ${target}`, yes: "Set", text: `Configured: ${row.configured_weight}. Empty: the configured one again.`,
    fields: [{ name: "weight", label: "Weight", type: "number", min: 0, value: row.kernel_weight ?? "" }, REASON],
    act: ({ weight, reason }) => submit("v1/weight", { target, reason, weight: weight === "" ? null : Number(weight) }) });
}

$("switchover").addEventListener("click", () => {
  const relay = status.sync && status.sync.relay;
  dialog({ title: "Hand the addresses to the other director?", yes: "Switch over",
    text: relay ? `${relay.would_lose} of ${relay.connections} connections are not known there yet; it waits for them, and refuses if they would be lost.` : "Connections are handed over as far as the kernel has announced them.",
    act: () => submit("v1/switchover", {}) });
});
$("pause").addEventListener("click", () => dialog({ title: "Pause this director?", yes: "Pause", fields: [REASON],
  text: "It hands its addresses over and takes none until it is resumed, also after a restart.",
  act: ({ reason }) => submit("v1/pause", { reason }) }));
$("resume").addEventListener("click", () => submit("v1/resume", {}).catch((problem) => said(problem.message, "bad")));
$("find").addEventListener("input", () => status && renderServices());
$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("lvsha-theme", root.dataset.theme);
});

const theme = localStorage.getItem("lvsha-theme");
if (theme) document.documentElement.dataset.theme = theme;

(async () => {
  await refresh();
  try { me = await ask("v1/identity"); } catch { /* read only, then */ }
  if (status) allow(document);
  listen();
  setInterval(() => { if (!document.hidden) soon(); }, POLL_MS);
})();
