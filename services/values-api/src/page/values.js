"use strict";

const { element } = live;
const board = document.getElementById("workers");
const summary = document.getElementById("summary");
const shares = document.getElementById("shares");
const columns = new Map();
const chips = new Map();
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function makeColumn() {
  const column = {
    root: element("section", "panel worker"),
    name: element("span"),
    load: element("small", "muted number"),
    fill: element("progress"),
    ids: element("ul", "ids"),
  };
  const title = element("h2");
  title.append(column.name, column.load);
  column.root.append(title, column.fill, column.ids);
  return column;
}

function makeChip(id) {
  const chip = { root: element("li"), value: element("span"), owner: undefined };
  chip.root.append(element("b", "", id), chip.value);
  return chip;
}

// Columns keep the order in which workers registered; ids without an owner come first.
function drawColumns(workers, waiting) {
  const wanted = workers.map((worker) => [worker.incarnation, worker]);
  if (waiting > 0) wanted.unshift([null, { name: "Waiting for a worker", state: "waiting", load: waiting, capacity: 0 }]);
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

function drawOverview(state, waiting) {
  const shown = state.values.length < state.ids ? `, the first ${state.values.length} shown` : "";
  const count = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;
  summary.textContent = `${count(state.ids, "id")} on ${count(state.workers.length, "worker")}${shown}`;
  const parts = state.workers.map((worker) => ({ name: worker.name, value: worker.load, className: worker.state }));
  parts.push({ name: "Waiting for a worker", value: waiting, className: "waiting" });
  charts.place(shares, (width) => charts.stackedBar({ width, title: "Ids by worker", parts }));
}

function draw(state) {
  const known = new Set(state.workers.map((worker) => worker.incarnation));
  const owned = state.workers.reduce((sum, worker) => sum + worker.load, 0);
  const waiting = Math.max(state.ids - owned, state.values.filter(([, , owner]) => !known.has(owner)).length);
  // The server drew the first picture; the script draws its own over it.
  if (columns.size === 0) board.replaceChildren();
  drawOverview(state, waiting);
  // Chips are measured where they are before columns come and go.
  drawColumns(state.workers, waiting);
  drawIds(state.values);
}

live.follow("events", draw);

document.getElementById("change").addEventListener("submit", (event) => {
  event.preventDefault();
  const count = Number(document.getElementById("count").value);
  if (event.submitter?.value === "remove") live.request(`values?count=${count}`, { method: "DELETE" });
  else live.request("values", { method: "POST", body: { count } });
});
