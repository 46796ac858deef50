"use strict";

const { element } = live;
// The timeline shows the first of these spans that holds all newest jobs.
const TIMELINE_SECONDS = [10, 20, 30, 60, 120, 300];
const TIMELINE_LANES = 12;

// Statuses, rates and queues as they are shown.
const NAMES = {
  accepted: "Accepted",
  queued: "Queued",
  running: "Running",
  retry_wait: "Waiting to retry",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  high: "High priority",
  default: "Default priority",
  low: "Low priority",
  dead: "Dead letters",
};

function describe(job) {
  const parts = [`attempt ${job.attempt} of ${job.max_attempts}`];
  if (job.worker && job.status === "running") parts.push(`on ${job.worker}`);
  if (job.cancel_requested && job.status === "running") parts.push("cancelling");
  if (job.error && job.status !== "succeeded") parts.push(job.error);
  return parts.join(" · ");
}

function drawJob(row, job) {
  row.querySelector(".status").className = `status ${job.status}`;
  row.querySelector(".status").textContent = NAMES[job.status];
  row.querySelector(".about span").textContent = describe(job);
  row.querySelector("progress").value = job.progress;
  row.querySelector("progress").hidden = job.status !== "running";
  const button = row.querySelector("button");
  const ended = job.status === "failed" || job.status === "cancelled";
  button.hidden = job.status === "succeeded";
  button.textContent = ended ? "Retry" : "Cancel";
  button.onclick = () => ended
    ? live.request(`jobs/${job.job_id}/retry`, { method: "POST" })
    : live.request(`jobs/${job.job_id}`, { method: "DELETE" });
}

function makeJob(job) {
  const row = element("li");
  row.dataset.job = job.job_id;
  const link = element("a", "", job.job_id.slice(-12));
  link.href = `jobs/${job.job_id}`;
  link.title = job.job_id;
  const name = element("span", "", `${job.kind} `);
  name.append(element("br"), link);
  const about = element("span", "about");
  const progress = element("progress");
  progress.max = 1;
  progress.setAttribute("aria-label", "Progress");
  about.append(element("span"), progress);
  const button = element("button");
  button.type = "button";
  row.append(element("span", "status"), name, about, button);
  return row;
}

// A row stays in place as long as its job is listed, so that its button can be hit.
function drawJobs(id, jobs) {
  const list = document.getElementById(id);
  const rows = new Map([...list.querySelectorAll("li[data-job]")].map((row) => [row.dataset.job, row]));
  const wanted = jobs.map((job) => {
    const row = rows.get(job.job_id) ?? makeJob(job);
    drawJob(row, job);
    return row;
  });
  if (wanted.length === 0) wanted.push(element("li", "muted", "None"));
  wanted.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
}

function drawQueues(queues) {
  const list = document.getElementById("queues");
  list.replaceChildren(...(queues ?? []).map(([name, depth]) => {
    const item = element("li", "", `${NAMES[name]} `);
    item.append(element("b", "number", depth));
    return item;
  }));
  if (!queues) list.append(element("li", "bad", "The broker does not answer. Jobs are accepted and wait for it."));
}

function drawOverview(state) {
  const statuses = ["queued", "running", "retry_wait", "failed"];
  for (const name of statuses) document.getElementById(name).textContent = state[name];
  document.getElementById("oldest_waits").textContent = `${state.oldest_waits.toFixed(1)} s`;
  const parts = statuses.map((name) => ({ name: NAMES[name], value: state[name], className: name }));
  charts.place(document.getElementById("shares"), (width) => charts.stackedBar({ width, title: "Jobs by status", parts }));
}

// The three sparklines share a scale, so that their heights compare.
function drawRates(state) {
  const names = ["accepted", "succeeded", "failed"];
  const series = names.map((name) => [...state.history[name], state[`${name}_rate`]]);
  const max = Math.max(1, ...series.flat().filter((value) => value !== null));
  names.forEach((name, index) => {
    const peak = Math.max(...series[index].filter((value) => value !== null));
    document.getElementById(`${name}_rate`).textContent = state[`${name}_rate`].toFixed(1);
    document.getElementById(`${name}_peak`).textContent = `5-minute peak ${peak.toFixed(1)}`;
    const title = `${NAMES[name]} per second, the last five minutes`;
    const draw = (width) => charts.sparkline({ width, title, values: series[index], max });
    charts.place(document.getElementById(`${name}_history`), draw);
  });
}

// When a job waited and ran: until it ended, or until now.
function spans(job, now) {
  const [due, started, ended] = [job.run_at, job.started_at, job.ended_at].map((time) => time && Date.parse(time));
  const span = (from, to, className) => {
    const title = `${NAMES[className]}, ${((to - from) / 1000).toFixed(1)} s`;
    return { from, to, className: className === "cancelled" ? "failed" : className, title };
  };
  const over = ended ?? now;
  // Until its next attempt is due, a job counts as waiting since the last one began.
  if (job.status === "retry_wait") return [span(started ?? over, over, job.status)];
  if (job.status === "queued" || !started) return [span(Math.min(due, over), over, job.status)];
  return [span(Math.min(due, started), started, "queued"), span(started, over, job.status)];
}

function drawTimeline(state) {
  const to = state.now_ms;
  const oldest = to - TIMELINE_SECONDS.at(-1) * 1000;
  const lanes = state.recent_jobs
    .map((job) => ({ label: job.job_id.slice(-6), name: `${job.kind} ${job.job_id}`, spans: spans(job, to) }))
    .filter(({ spans }) => spans.some((span) => span.to > oldest && span.from < to))
    .slice(0, TIMELINE_LANES);
  const begin = Math.min(...lanes.flatMap(({ spans }) => spans.map((span) => span.from)));
  const seconds = TIMELINE_SECONDS.find((seconds) => begin > to - seconds * 1000) ?? TIMELINE_SECONDS.at(-1);
  const container = document.getElementById("timeline");
  if (lanes.length === 0) {
    container.replaceChildren(element("p", "muted", "No job in the last five minutes"));
    return;
  }
  const options = { title: `The newest jobs over the last ${seconds} seconds`, from: to - seconds * 1000, to, lanes };
  charts.place(container, (width) => charts.timeline({ width, ...options }));
}

function draw(state) {
  drawOverview(state);
  drawRates(state);
  drawTimeline(state);
  drawQueues(state.queues);
  for (const name of ["running_jobs", "failed_jobs", "recent_jobs"]) drawJobs(name, state[name]);
}

live.follow("events", draw);

document.getElementById("submit").addEventListener("submit", (event) => {
  event.preventDefault();
  const count = Number(document.getElementById("count").value);
  const jobs = Array.from({ length: count }, (_, index) => ({
    kind: "user-request",
    payload: { user_id: "page", data: { number: index + 1 } },
  }));
  live.request("jobs/batch", { method: "POST", body: { jobs } });
});
