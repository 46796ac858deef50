"use strict";

const status = document.getElementById("status");

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function trouble(text) {
  status.className = "bad";
  status.textContent = text;
}

async function ask(path, method, body) {
  try {
    const headers = body ? { "Content-Type": "application/json" } : {};
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
    if (!response.ok) trouble((await response.json()).detail);
  } catch {
    trouble("main-app does not answer.");
  }
}

function about(job) {
  const parts = [`attempt ${job.attempt} of ${job.max_attempts}`];
  if (job.worker && job.status === "running") parts.push(`on ${job.worker}`);
  if (job.cancel_requested && job.status === "running") parts.push("cancelling");
  if (job.error && job.status !== "succeeded") parts.push(job.error);
  return parts.join(" · ");
}

function drawJob(row, job) {
  row.querySelector(".status").className = `status ${job.status}`;
  row.querySelector(".status").textContent = job.status.replace("_", " ");
  row.querySelector(".about span").textContent = about(job);
  row.querySelector("progress").value = job.progress;
  row.querySelector("progress").hidden = job.status !== "running";
  const button = row.querySelector("button");
  const again = job.status === "failed" || job.status === "cancelled";
  button.hidden = job.status === "succeeded";
  button.textContent = again ? "Retry" : "Cancel";
  button.onclick = () => again ? ask(`jobs/${job.job_id}/retry`, "POST") : ask(`jobs/${job.job_id}`, "DELETE");
}

function makeJob(job) {
  const row = element("li");
  row.dataset.job = job.job_id;
  const link = element("a", "", job.job_id.slice(-12));
  link.href = `jobs/${job.job_id}`;
  link.title = job.job_id;
  const name = element("span", "", `${job.kind} `);
  name.append(element("br"), link);
  const text = element("span", "about");
  const progress = element("progress");
  progress.max = 1;
  text.append(element("span"), progress);
  const button = element("button");
  button.type = "button";
  row.append(element("span", "status"), name, text, button);
  return row;
}

// Rows stay where they are as long as their job does, so that a button can be hit.
function drawJobs(id, jobs) {
  const list = document.getElementById(id);
  const rows = new Map([...list.querySelectorAll("li[data-job]")].map((row) => [row.dataset.job, row]));
  const wanted = jobs.map((job) => {
    const row = rows.get(job.job_id) ?? makeJob(job);
    drawJob(row, job);
    return row;
  });
  if (wanted.length === 0) wanted.push(element("li", "muted", "none"));
  wanted.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
}

function drawQueues(queues) {
  const list = document.getElementById("queues");
  list.replaceChildren(...(queues ?? []).map(([name, depth]) => {
    const item = element("li", "", `${name} `);
    item.append(element("b", "number", depth));
    return item;
  }));
  if (!queues) list.append(element("li", "bad", "the broker does not answer; jobs are accepted and wait"));
}

function draw(state) {
  for (const name of ["queued", "running", "retry_wait", "failed"]) {
    document.getElementById(name).textContent = state[name];
  }
  for (const name of ["accepted_rate", "succeeded_rate", "failed_rate"]) {
    document.getElementById(name).textContent = state[name].toFixed(1);
  }
  document.getElementById("oldest_waits").textContent = `${state.oldest_waits.toFixed(1)} s`;
  drawQueues(state.queues);
  for (const name of ["running_jobs", "failed_jobs", "recent_jobs"]) drawJobs(name, state[name]);
  status.className = "";
  status.textContent = "";
}

const events = new EventSource("events");
events.addEventListener("state", (event) => draw(JSON.parse(event.data)));
events.addEventListener("unavailable", () => trouble("The database does not answer; trying again."));
events.addEventListener("error", () => trouble("The connection is lost; trying again."));

document.getElementById("submit").addEventListener("submit", (event) => {
  event.preventDefault();
  const count = Number(document.getElementById("count").value);
  const jobs = Array.from({ length: count }, (_, index) => ({
    kind: "user-request",
    payload: { user_id: "page", data: { number: index + 1 } },
  }));
  ask("jobs/batch", "POST", { jobs });
});
