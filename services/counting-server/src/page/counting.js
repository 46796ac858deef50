"use strict";

const { element } = live;

const number = (value) => value.toLocaleString("en");
const show = (shown, text) => {
  if (shown.textContent !== text) shown.textContent = text;
};

function ago(ms) {
  if (ms < 1500) return "just now";
  const seconds = Math.round(ms / 1000);
  if (seconds < 100) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min ago` : `${number(Math.round(minutes / 60))} h ago`;
}

function stateOf({ error, counting, clients }) {
  if (error !== null) return ["failing", "Numbers cannot be stored"];
  if (counting) return ["counting", "Counting"];
  const missing = clients.filter(({ holder }) => holder === null).map(({ client_id: id }) => id);
  if (missing.length === 2) return ["stopped", "Waiting for two clients"];
  return ["stopped", missing.length === 1 ? `Waiting for ${missing[0]}` : "Stopped"];
}

function drawNow(count) {
  const [className, text] = stateOf(count);
  const state = document.getElementById("state");
  state.className = className;
  show(state, text);
  show(document.getElementById("last"), count.last_number === null ? "–" : number(count.last_number));
  show(document.getElementById("words"), count.latest[0]?.words ?? (count.last_number === null ? "" : "nothing yet"));
  const error = document.getElementById("error");
  error.hidden = count.error === null;
  show(error, count.error ?? "");
}

function drawRate({ rates }) {
  const rate = document.getElementById("rate");
  if (!rate.firstChild) rate.append(element("div"), element("p"));
  const values = Array.from({ length: 60 }, (_, index) => rates[index - 60 + rates.length] ?? null);
  const max = Math.max(4, ...rates);
  charts.place(rate.firstChild, (width) => charts.sparkline({ width, title: "Numbers in each second", values, max }));
  const latest = rates.slice(-5);
  const mean = latest.reduce((sum, value) => sum + value, 0) / Math.max(latest.length, 1);
  show(rate.lastChild, `${mean < 10 ? mean.toFixed(1) : number(Math.round(mean))} numbers a second`);
}

function describe({ holder }, now, isOpen) {
  if (holder === null && !isOpen) return "not connected";
  if (holder === null) return `not connected: run counting-client --server-url ${location.origin}`;
  const from = holder.address === null ? "" : ` from ${holder.address}`;
  return `connected ${ago(now - holder.since_ms)}${from}`;
}

function drawClients({ clients, now_ms: now, last_number: last }) {
  const board = document.getElementById("clients");
  for (const client of clients) {
    const card = board.querySelector(`[data-client=${client.client_id}]`) ?? makeCard(board, client.client_id);
    card.classList.toggle("away", client.holder === null);
    show(card.querySelector(".about"), describe(client, now, last !== null));
    show(card.querySelector(".sent"), client.last_number === 0 ? "–" : number(client.last_number));
  }
}

function makeCard(board, id) {
  const card = element("section", `panel client ${id}`);
  card.dataset.client = id;
  card.append(element("h2", "", id), element("p", "about"), element("p", "sent number"));
  board.append(card);
  return card;
}

// Items that are shown already stay in place.
function place(list, items) {
  const isSame =
    items.length === list.children.length && items.every((item, index) => list.children[index].isEqualNode(item));
  if (!isSame) list.replaceChildren(...items);
}

function drawLatest({ latest }) {
  const items = latest.map(({ number: value, words }) => {
    const item = element("li", value % 2 === 1 ? "client1" : "client2");
    item.append(element("b", "number", number(value)), element("span", "", words));
    return item;
  });
  if (items.length === 0) items.push(element("li", "muted", "None"));
  place(document.getElementById("latest"), items);
}

function drawHappenings({ happenings, now_ms: now }) {
  const items = happenings.map(({ at_ms: at, kind, client_id: id, text }) => {
    const item = element("li", `${kind} ${id ?? ""}`.trim());
    const time = element("time", "", ago(now - at));
    time.dateTime = new Date(at).toISOString();
    time.title = new Date(at).toLocaleString();
    item.append(time, element("b", "", id ?? ""), element("span", "", text));
    return item;
  });
  if (items.length === 0) items.push(element("li", "muted", "Nothing yet"));
  place(document.getElementById("happenings"), items);
}

live.follow("events", (count) => {
  drawNow(count);
  drawRate(count);
  drawClients(count);
  drawLatest(count);
  drawHappenings(count);
});
