"use strict";

const { element } = live;
const COLOURS = 6;
const LANE_HEIGHT = 44;
// The narrowest and the widest column of a turn, in pixels.
const [MIN_COLUMN, MAX_COLUMN] = [12, 24];
// A backlog of so many messages fills its bar, unless another one is longer.
const MIN_BACKLOG = 100;

const number = (value) => value.toLocaleString("en");
const plural = (count, name) => `${number(count)} ${name}${count === 1 ? "" : "s"}`;
const show = (id, text) => {
  const shown = document.getElementById(id);
  if (shown.textContent !== text) shown.textContent = text;
};

function svg(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Each replica keeps its colour as long as it is shown.
const colours = new Map();

function assignColours(ids) {
  for (const id of [...colours.keys()]) if (!ids.includes(id)) colours.delete(id);
  for (const id of ids) {
    if (colours.has(id)) continue;
    const used = [...colours.values()];
    const counts = Array.from({ length: COLOURS }, (_, colour) => used.filter((other) => other === colour).length);
    colours.set(id, counts.indexOf(Math.min(...counts)));
  }
}

const colourOf = (id) => (colours.has(id) ? `replica-${colours.get(id)}` : "");

// Names of pods begin alike: the part that differs is enough, at least three characters of it.
let prefix = 0;

function findPrefix(names) {
  prefix = 0;
  if (names.length < 2) return;
  const [first, ...others] = names;
  for (let end = first.indexOf("-") + 1; end > 0; end = first.indexOf("-", end) + 1) {
    if (!others.every((name) => name.startsWith(first.slice(0, end)))) return;
    if (names.some((name) => name.length < end + 3)) return;
    prefix = end;
  }
}

const shortName = (name) => name.slice(prefix) || name;

// The replicas that have a lane: those that take turns, and those that served in a turn shown.
function lanesOf(state, turns) {
  const lanes = new Map(state.replicas.filter(({ state }) => state !== "gone").map((replica) => [replica.id, replica]));
  const known = new Map(state.replicas.map((replica) => [replica.id, replica]));
  for (const { replica_id: id, replica: name } of turns) {
    if (!lanes.has(id)) lanes.set(id, known.get(id) ?? { id, name, state: "gone" });
  }
  return [...lanes.values()].sort((one, other) => one.id - other.id);
}

function drawNow(state) {
  const current = Math.floor(state.now_ms / state.quantum_ms);
  const serving = state.turns.find(({ turn }) => turn === current);
  show("serving", serving ? shortName(serving.replica) : "Nobody");
  show("serving_name", serving?.replica ?? "No replica is alive");
  document.getElementById("serving").className = `large ${colourOf(serving?.replica_id)}`;
  const turn = document.getElementById("turn");
  turn.className = colourOf(serving?.replica_id);
  turn.value = (state.now_ms % state.quantum_ms) / state.quantum_ms;
  const latest = state.clients
    .filter((client) => client.served_at_ms !== null)
    .reduce((one, other) => (one && one.served_at_ms >= other.served_at_ms ? one : other), null);
  if (!latest) return;
  show("counter", number(latest.counter));
  show("client", `of ${latest.client_id}`);
  show("message", latest.message || "(empty)");
  show("served_by", `served by ${shortName(latest.replica)}, ${ago(state.now_ms - latest.served_at_ms)}`);
}

function ago(ms) {
  if (ms < 1500) return "just now";
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min ago` : `${number(Math.round(minutes / 60))} h ago`;
}

function makeLane(id) {
  const lane = { root: element("div", "lane"), name: element("b"), about: element("small"), chart: element("div") };
  const label = element("p");
  label.append(lane.name, lane.about);
  lane.root.append(label, lane.chart);
  lanes.set(id, lane);
  return lane;
}

const lanes = new Map();

function drawLane(replica, { turns, current, columns, width, max }) {
  const lane = lanes.get(replica.id) ?? makeLane(replica.id);
  const own = turns.filter((turn) => turn.replica_id === replica.id);
  const served = own.reduce((sum, turn) => sum + turn.served, 0);
  lane.root.className = `lane ${replica.state} ${colourOf(replica.id)}`;
  lane.name.textContent = shortName(replica.name);
  lane.name.title = replica.name;
  const state = replica.state === "live" ? "" : ` · ${replica.state}`;
  lane.about.textContent = `${plural(own.length, "turn")}, ${number(served)} served${state}`;

  const column = width / columns;
  const place = (turn) => (columns - 1 - (current - turn)) * column;
  const floor = LANE_HEIGHT - 1;
  const marks = [
    svg("rect", { x: place(current).toFixed(1), y: 0, width: column.toFixed(1), height: floor, class: "now" }),
    svg("path", { d: `M0 ${floor + 0.5}H${width}`, class: "floor" }),
  ];
  for (const { turn, served } of own) {
    const height = served > 0 ? 4 + (served / max) * (floor - 4) : 3;
    const attributes = {
      x: (place(turn) + 1).toFixed(1),
      y: (floor - height).toFixed(1),
      width: (column - 2).toFixed(1),
      height: height.toFixed(1),
      rx: 1.5,
      class: served > 0 ? "bar" : "idle",
    };
    marks.push(svg("rect", attributes, svg("title", {}, `Turn ${turn}: ${number(served)} served`)));
  }
  const title = `Turns of ${replica.name}`;
  const figure = { role: "img", viewBox: `0 0 ${width} ${LANE_HEIGHT}`, height: LANE_HEIGHT };
  const chart = svg("svg", figure, svg("title", {}, title), svg("desc", {}, lane.about.textContent), ...marks);
  // An unchanged chart is not replaced, so that its tooltip stays.
  if (!lane.chart.firstChild?.isEqualNode(chart)) lane.chart.replaceChildren(chart);
  return lane.root;
}

function drawTurns(state) {
  const board = document.getElementById("lanes");
  // A lane that is shown has the width of the chart; before the first one, the board is measured.
  const width = lanes.values().next().value?.chart.clientWidth || board.clientWidth;
  if (width === 0) return;
  const columns = Math.max(Math.min(Math.floor(width / MIN_COLUMN), 60), Math.ceil(width / MAX_COLUMN / 2));
  const current = Math.floor(state.now_ms / state.quantum_ms);
  const turns = state.turns.filter(({ turn }) => turn > current - columns && turn <= current);
  const shown = lanesOf(state, turns);
  assignColours(shown.map(({ id }) => id));
  findPrefix(shown.map(({ name }) => name));
  const peak = Math.max(0, ...turns.map(({ served }) => served));
  const drawing = { turns, current, columns, width, max: Math.max(peak, 1) };
  const rows = shown.map((replica) => drawLane(replica, drawing));
  for (const id of [...lanes.keys()]) if (!shown.some((replica) => replica.id === id)) lanes.delete(id);
  if (rows.some((row, index) => board.children[index] !== row) || board.children.length !== rows.length) {
    board.replaceChildren(...rows);
  }
  const seconds = state.quantum_ms / 1000;
  show("scale", `of ${seconds} s · highest bar: ${plural(peak, "message")}`);
  const axis = element("span");
  axis.append(element("span", "", `−${number(Math.round(columns * seconds))} s`), element("span", "", "now"));
  document.getElementById("axis").replaceChildren(axis);
}

function makeClient(id) {
  const row = element("li");
  row.dataset.client = id;
  const backlog = element("span", "backlog number");
  const bar = element("progress");
  bar.setAttribute("aria-label", "Backlog");
  backlog.append(bar, element("span"));
  const by = element("span", "by muted");
  by.append(element("i"), element("span"));
  row.append(element("b", "", id), element("span", "counter number"), element("span", "text"), by, backlog);
  return row;
}

function describeBacklog({ waiting, gap }) {
  if (gap !== null && waiting === 0) return `message ${number(gap)} is missing`;
  if (gap !== null) return `${number(waiting)} waiting, then ${number(gap)} is missing`;
  return waiting > 0 ? `${number(waiting)} waiting` : "up to date";
}

function drawClient(row, client, { max, state }) {
  row.querySelector("b").title = client.client_id;
  row.querySelector(".counter").textContent = client.counter === null ? "–" : number(client.counter);
  const text = row.querySelector(".text");
  text.textContent = client.message ?? "";
  text.title = client.message ?? "";
  const replica = state.turns.find((turn) => turn.replica === client.replica);
  const by = row.querySelector(".by");
  by.className = `by muted ${colourOf(replica?.replica_id)}`;
  by.lastChild.textContent = client.replica ? `${shortName(client.replica)}, ${ago(state.now_ms - client.served_at_ms)}` : "";
  by.title = client.replica ?? "";
  const backlog = row.querySelector(".backlog");
  backlog.className = `backlog number ${client.gap !== null ? "gap" : client.waiting > 0 ? "busy" : ""}`;
  backlog.firstChild.max = max;
  backlog.firstChild.value = client.waiting;
  backlog.firstChild.hidden = client.waiting === 0;
  backlog.lastChild.textContent = describeBacklog(client);
}

// A row stays in place as long as its client is listed.
function drawClients(state) {
  const list = document.getElementById("clients");
  const rows = new Map([...list.querySelectorAll("li[data-client]")].map((row) => [row.dataset.client, row]));
  const max = Math.max(MIN_BACKLOG, ...state.clients.map((client) => client.waiting));
  const clients = [...state.clients].sort((one, other) => (one.client_id < other.client_id ? -1 : 1));
  const wanted = clients.map((client) => {
    const known = rows.get(client.client_id);
    // The server drew the first rows, without bars.
    const row = known?.querySelector("progress") ? known : makeClient(client.client_id);
    drawClient(row, client, { max, state });
    return row;
  });
  const others = state.client_count - clients.length;
  if (others > 0) wanted.push(element("li", "muted", `${plural(others, "other client")}, active longer ago`));
  if (wanted.length === 0) wanted.push(element("li", "muted", "No client has sent a message yet"));
  const isSame = wanted.length === list.children.length && wanted.every((row, index) => list.children[index].isEqualNode(row));
  if (!isSame) list.replaceChildren(...wanted);
  const waiting = state.waiting === 0 ? "nothing waits" : `${plural(state.waiting, "message")} waiting`;
  show("waiting", `${plural(state.client_count, "client")}, ${waiting}`);
}

function draw(state) {
  drawTurns(state);
  drawNow(state);
  drawClients(state);
}

live.follow("events", draw);

// The page is a client like any other, with a name of its own in each tab.
function ownName() {
  const known = sessionStorage.getItem("client");
  if (known) return known;
  const made = `page-${Math.random().toString(36).slice(2, 8)}`;
  sessionStorage.setItem("client", made);
  return made;
}

async function firstMissing(client) {
  const response = await fetch(`clients/${client}`);
  return response.ok ? (await response.json()).first_missing : 1;
}

document.getElementById("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const count = Number(document.getElementById("count").value);
  const client = ownName();
  const first = await firstMissing(client).catch(() => 1);
  for (let index = 0; index < count; index += 1) {
    const body = { client_id: client, counter: first + index, message: `message ${index + 1} of ${count} from the page` };
    await live.request("messages", { method: "POST", body, headers: { Prefer: "respond-async" } });
  }
});
