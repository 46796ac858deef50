"use strict";

const status = document.getElementById("status");
const board = document.getElementById("workers");
const columns = new Map();
const chips = new Map();
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function element(name, className, parent) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (parent) parent.append(node);
  return node;
}

function makeColumn() {
  const root = element("section", "panel worker");
  const title = element("h2", "", root);
  const name = element("span", "", title);
  const load = element("small", "muted number", title);
  const fill = element("progress", "", root);
  return { root, name, load, fill, ids: element("ul", "ids", root) };
}

function makeChip(id) {
  const root = element("li");
  element("b", "", root).textContent = id;
  return { root, value: element("span", "", root), owner: undefined };
}

// Columns keep the order in which workers registered; ids without an owner come first.
function drawColumns(workers, waiting) {
  const wanted = workers.map((worker) => [worker.incarnation, worker]);
  if (waiting > 0) wanted.unshift([null, { name: "waiting for a worker", state: "waiting", load: waiting, capacity: 0 }]);
  const keys = new Set(wanted.map(([key]) => key));
  for (const [key, column] of columns) {
    if (!keys.has(key)) {
      column.root.remove();
      columns.delete(key);
    }
  }
  wanted.forEach(([key, worker], index) => {
    if (!columns.has(key)) columns.set(key, makeColumn());
    const column = columns.get(key);
    if (board.children[index] !== column.root) board.insertBefore(column.root, board.children[index] ?? null);
    column.root.className = `panel worker ${worker.state}`;
    column.name.textContent = worker.name;
    column.load.textContent = worker.capacity > 0
      ? `${worker.load} of ${worker.capacity}${worker.state === "active" ? "" : ` · ${worker.state}`}`
      : `${worker.load}${worker.state === "waiting" ? "" : " · leaving"}`;
    column.fill.max = Math.max(worker.capacity, 1);
    column.fill.value = worker.load;
  });
}

// First, last, invert, play: a chip that changes columns flies from where it was.
function fly(chip, before) {
  const after = chip.root.getBoundingClientRect();
  const [dx, dy] = [before.left - after.left, before.top - after.top];
  chip.root.classList.add("moved");
  setTimeout(() => chip.root.classList.remove("moved"), 1500);
  if (calm.matches) return;
  chip.root.animate(
    [{ transform: `translate(${dx}px, ${dy}px)` }, { transform: "none" }],
    { duration: 600, easing: "ease-in-out" },
  );
}

function drawIds(values) {
  const seen = new Set();
  const moved = [];
  for (const [id, value, owner] of values) {
    seen.add(id);
    if (!chips.has(id)) chips.set(id, makeChip(id));
    const chip = chips.get(id);
    const home = columns.has(owner) ? owner : null;
    chip.value.textContent = value;
    const list = columns.get(home)?.ids;
    if (!list || chip.root.parentNode === list) continue;
    if (chip.owner !== undefined && chip.root.isConnected) moved.push([chip, chip.root.getBoundingClientRect()]);
    chip.owner = home;
    list.append(chip.root);
  }
  for (const [id, chip] of chips) {
    if (!seen.has(id)) {
      chip.root.remove();
      chips.delete(id);
    }
  }
  for (const [chip, before] of moved) fly(chip, before);
  return moved.length;
}

function draw(state) {
  const known = new Set(state.workers.map((worker) => worker.incarnation));
  const owned = state.workers.reduce((sum, worker) => sum + worker.load, 0);
  const waitingShown = state.values.filter(([, , owner]) => !known.has(owner)).length;
  // Chips are measured where they are before columns come and go.
  drawColumns(state.workers, Math.max(state.ids - owned, waitingShown));
  drawIds(state.values);
  const shown = state.values.length < state.ids ? ` · the first ${state.values.length} are shown` : "";
  status.className = "";
  status.textContent = `${state.ids} ids on ${state.workers.length} workers${shown}`;
}

function trouble(text) {
  status.className = "bad";
  status.textContent = text;
}

// The server drew the first picture; the script draws its own over it.
function begin(state) {
  board.replaceChildren();
  draw(state);
}

const events = new EventSource("events");
events.addEventListener("state", (event) => begin(JSON.parse(event.data)), { once: true });
events.addEventListener("state", (event) => draw(JSON.parse(event.data)));
events.addEventListener("unavailable", () => trouble("The database does not answer; trying again."));
events.addEventListener("error", () => trouble("The connection is lost; trying again."));

document.getElementById("change").addEventListener("submit", async (event) => {
  event.preventDefault();
  const count = Number(document.getElementById("count").value);
  const request = event.submitter?.value === "remove"
    ? fetch(`values?count=${count}`, { method: "DELETE" })
    : fetch("values", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ count }),
    });
  try {
    const response = await request;
    if (!response.ok) trouble((await response.json()).detail);
  } catch {
    trouble("values-api does not answer.");
  }
});
