"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const EVERY = 500;
  // What the page shows: a job, by its id, or a file on its way.
  let shown = null;
  // Files that are no jobs yet: they are sent one after the other, and stay here if they are refused.
  let coming = [];
  let jobs = [], listed = "", known = 10, again = 0, sending = false;

  // Every answer is JSON or a page; what is refused is an error with a plain reason.
  async function ask(path, options = {}) {
    const response = await fetch(path, { credentials: "same-origin", ...options });
    if (response.ok) return response;
    if (response.status === 401) enter();
    const told = await response.json().catch(() => ({}));
    throw new Error(told.error || `the service answers ${response.status}`);
  }

  function enter() {
    byId("entry").hidden = false;
    byId("inside").hidden = true;
    byId("token").focus();
  }

  byId("entry").addEventListener("submit", async (event) => {
    event.preventDefault();
    const headers = { Authorization: `Bearer ${byId("token").value}` };
    const response = await fetch("/session", { method: "POST", headers });
    byId("refused").textContent = response.ok ? "" : "That is not the token.";
    if (!response.ok) return;
    byId("token").value = "";
    byId("entry").hidden = true;
    byId("inside").hidden = false;
    start();
  });

  function say(words, { done = 0, of = 0, wrong = false, ended = false } = {}) {
    const state = byId("state"), bar = byId("progress");
    if (state.textContent !== words) state.textContent = words;
    state.className = wrong ? "wrong" : "";
    byId("doing").hidden = ended && !wrong;
    bar.hidden = ended || wrong;
    if (of > 0) { bar.max = of; bar.value = done; } else bar.removeAttribute("value");
  }

  function open(name) {
    byId("job").hidden = false;
    byId("name").textContent = name;
    byId("links").hidden = true;
    byId("answer").replaceChildren();
  }

  async function take(files) {
    coming = coming.filter((one) => !one.refused);
    const segments = byId("segments").value;
    for (const file of files)
      coming.push({ file, segments, words: "It is sent soon.", refused: false });
    list();
    if (sending) return;
    sending = true;
    for (let first = true, one; (one = coming.find(({ refused }) => !refused)); first = false) {
      if (first) {
        location.hash = "";
        shown = one;
        open(one.file.name);
      }
      await send(one);
    }
    sending = false;
  }

  // Of a file on its way: in the middle of the page, or in the list.
  function tell(one, words, details = {}) {
    Object.assign(one, { words, refused: Boolean(details.wrong) });
    if (one === shown) say(words, details);
    list();
  }

  async function send(one) {
    const most = Number(byId("file").dataset.most), wrong = true;
    if (one.file.size > most)
      return tell(one, `It is too large: at most ${most.toLocaleString("en")} bytes are taken.`, { wrong });
    const form = new FormData(), request = new XMLHttpRequest();
    form.append("segments", one.segments);
    form.append("file", one.file);
    request.open("POST", "/jobs");
    request.upload.onprogress = (event) =>
      tell(one, "Sending …", { done: event.loaded, of: event.lengthComputable ? event.total : 0 });
    tell(one, "Sending …");
    const ended = new Promise((end) => { request.onloadend = end; });
    request.send(form);
    await ended;
    let told = {};
    try { told = JSON.parse(request.responseText); } catch { /* said below */ }
    if (request.status === 401) enter();
    if (request.status === 0) return tell(one, "The service cannot be reached.", { wrong });
    if (request.status >= 300) return tell(one, told.error || "It was refused.", { wrong });
    coming = coming.filter((other) => other !== one);
    known = Math.min(known + 1, 200);
    if (one === shown) location.hash = told.id;
    await recent().catch(() => {});
  }

  function doing(job) {
    if (job.state === "waiting")
      return [job.ahead ? `Waiting; ${job.ahead} before it` : "Waiting; it is next", {}];
    const { step, done, of } = job.progress || { step: "beginning", done: 0, of: 0 };
    const words = {
      cutting: "Finding where it is cut …", looking: "Looking at it …",
      explaining: "Finding out why …", drawing: "Gathering frames …",
      "waiting for the bundle": "Waiting for who judges, which is being replaced …",
    }[step] || "Beginning …";
    return [of > 1 ? `${words} segment ${done} of ${of}` : words, { done, of: of > 1 ? of : 0 }];
  }

  // The job as the service tells it; null where nobody answers, as while it starts again.
  async function told(id) {
    try {
      return await (await ask(`/jobs/${encodeURIComponent(id)}`)).json();
    } catch (error) {
      if (error instanceof TypeError) return null;
      throw error;
    }
  }

  async function watch(id) {
    shown = id;
    try {
      for (;;) {
        const job = await told(id);
        if (shown !== id) return;
        if (job === null) {
          byId("job").hidden = false;
          say("The service does not answer; asking again.");
          await new Promise((wake) => setTimeout(wake, 4 * EVERY));
          if (shown !== id) return;
          continue;
        }
        if (byId("job").hidden || byId("name").textContent !== job.name) open(job.name);
        if (job.state === "done") return await show(job);
        if (job.state === "failed") {
          say(`It cannot be judged: ${job.reason}`, { wrong: true });
          return recent();
        }
        say(...doing(job));
        await new Promise((wake) => setTimeout(wake, EVERY));
        if (shown !== id) return;
      }
    } catch (error) {
      if (shown === id) {
        byId("job").hidden = false;
        say(`${error.message}`, { wrong: true });
      }
    }
  }

  // The page of the answer, without its frame. A parsed document runs no script, and the policy of
  // this page lets none run that is in its text.
  async function show(job) {
    const page = await (await ask(job.page)).text();
    const body = page.slice(page.indexOf("<body>"), page.lastIndexOf("</main>"));
    const found = new DOMParser().parseFromString(body, "text/html");
    const parts = found.querySelectorAll("#top .notice, main > section");
    byId("answer").replaceChildren(...parts);
    byId("page-link").href = job.page;
    byId("json-link").href = `/jobs/${job.id}`;
    byId("links").hidden = false;
    say("Judged.", { ended: true });
    recent();
  }

  async function recent() {
    ({ jobs } = await (await ask(`/jobs?count=${known}`)).json());
    list();
    clearTimeout(again);
    const wait = jobs.some((job) => job.state === "waiting" || job.state === "running");
    if (wait) again = setTimeout(() => recent().catch(() => {}), 2 * EVERY);
  }

  // It is made anew where it says something else, and what had the focus has it again.
  function list() {
    const lines = [
      ...coming.filter((one) => one !== shown).map((one) => [one.file.name, one.words, one.refused]),
      ...jobs.map((job) => [job.name, job.line || job.reason || job.state, false, `#${job.id}`]),
    ];
    const place = byId("list"), all = JSON.stringify(lines);
    if (all === listed) return;
    listed = all;
    const at = place.contains(document.activeElement) && document.activeElement.hash;
    byId("recent").hidden = lines.length === 0;
    place.replaceChildren(...lines.map((one) => line(...one)));
    if (at) place.querySelector(`a[href="${at}"]`)?.focus();
  }

  function line(words, about, wrong, place) {
    const found = document.createElement("li"), inner = document.createElement(place ? "a" : "div");
    const name = document.createElement("bdi"), state = document.createElement("span");
    name.textContent = words;
    state.textContent = about;
    state.classList.toggle("wrong", wrong);
    if (place) inner.href = place;
    inner.append(name, state);
    found.append(inner);
    return found;
  }

  function follow() {
    const id = location.hash.slice(1);
    if (id) watch(id);
  }

  function start() {
    recent().then(follow, () => {});
  }

  const drop = byId("drop");
  for (const kind of ["dragover", "dragenter"])
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const kind of ["dragleave", "drop"])
    drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  // A file that misses is not opened in place of the page.
  for (const kind of ["dragover", "drop"])
    addEventListener(kind, (event) => event.preventDefault());
  byId("file").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = "";
  });
  byId("paths").addEventListener("submit", async (event) => {
    event.preventDefault();
    const path = byId("path").value;
    location.hash = "";
    shown = null;
    open(path);
    say("Asking …");
    try {
      const segments = byId("segments").value;
      const body = JSON.stringify({ path, segments }), headers = { "Content-Type": "application/json" };
      location.hash = (await (await ask("/jobs", { method: "POST", body, headers })).json()).id;
    } catch (error) {
      say(error.message, { wrong: true });
    }
  });
  addEventListener("hashchange", follow);
  start();
})();
