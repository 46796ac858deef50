"use strict";

// Shared by all pages with an event stream. Scripts that follow on the page use:
//   live.follow(url, draw)         calls draw(snapshot) for each event `state`
//   live.request(path, options)    sends a request, and shows its error to the user
//   live.element(name, className, text)
const live = (() => {
  const FIRST_DELAY_MS = 1000;
  const MAX_DELAY_MS = 15000;
  // Servers send an event every second or more often. A connection that stays silent for
  // this long is dead, even if the browser has not noticed.
  const SILENCE_MS = 20000;
  const NOTICE_MS = 10000;

  const status = document.getElementById("status");
  const notice = document.getElementById("notice");
  let noticeTimer;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Screen readers read the text out when it changes: only then is it set.
  function show(state, text) {
    status.className = state;
    if (status.textContent !== text) status.textContent = text;
  }

  function follow(url, draw) {
    let source = null;
    let timer;
    let failures = 0;

    function close() {
      clearTimeout(timer);
      source?.close();
      source = null;
    }

    function heard() {
      failures = 0;
      clearTimeout(timer);
      timer = setTimeout(fail, SILENCE_MS);
    }

    // Half of the delay is random, so that clients of a server that restarts come back one
    // by one.
    function fail() {
      close();
      show("reconnecting", "Reconnecting");
      const delay = Math.min(FIRST_DELAY_MS * 2 ** failures, MAX_DELAY_MS);
      failures += 1;
      timer = setTimeout(open, delay * (0.5 + Math.random() / 2));
    }

    function open() {
      close();
      source = new EventSource(url);
      timer = setTimeout(fail, SILENCE_MS);
      source.addEventListener("state", (event) => {
        heard();
        draw(JSON.parse(event.data));
        show("live", "Live");
      });
      source.addEventListener("unavailable", (event) => {
        heard();
        show("unavailable", event.data);
      });
      source.addEventListener("error", fail);
    }

    // Browsers allow six connections to a server: a hidden page holds none.
    function openIfVisible() {
      if (document.visibilityState === "visible") open();
      else close();
    }

    document.addEventListener("visibilitychange", openIfVisible);
    openIfVisible();
  }

  function inform(text) {
    clearTimeout(noticeTimer);
    notice.textContent = text;
    notice.hidden = text === "";
    if (text !== "") noticeTimer = setTimeout(inform, NOTICE_MS, "");
  }

  async function request(path, { method, body, headers }) {
    const all = { ...(body ? { "Content-Type": "application/json" } : {}), ...headers };
    try {
      const response = await fetch(path, { method, headers: all, body: body && JSON.stringify(body) });
      inform(response.ok ? "" : (await response.json()).detail);
    } catch {
      inform("The server did not answer. Please try again.");
    }
  }

  return { element, follow, request };
})();
