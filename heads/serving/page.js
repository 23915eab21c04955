"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const EVERY = 500;
  let shown = null, before = null;

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

  function send(file) {
    location.hash = "";
    shown = null;
    open(file.name);
    const most = Number(byId("file").dataset.most);
    if (file.size > most) {
      say(`It is too large: at most ${most.toLocaleString("en")} bytes are taken.`, { wrong: true });
      return;
    }
    if (before) before.abort();
    const form = new FormData(), request = new XMLHttpRequest();
    before = request;
    form.append("segments", byId("segments").value);
    form.append("file", file);
    request.open("POST", "/jobs");
    request.upload.onprogress = (event) =>
      say("Sending …", { done: event.loaded, of: event.lengthComputable ? event.total : 0 });
    request.onerror = () => say("The service cannot be reached.", { wrong: true });
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* said below */ }
      if (request.status === 401) enter();
      if (request.status >= 300) say(told.error || "It was refused.", { wrong: true });
      else location.hash = told.id;
    };
    say("Sending …");
    request.send(form);
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
    const { jobs } = await (await ask("/jobs?count=10")).json();
    byId("recent").hidden = jobs.length === 0;
    byId("list").replaceChildren(...jobs.map((job) => {
      const line = document.createElement("li"), link = document.createElement("a");
      const name = document.createElement("bdi"), state = document.createElement("span");
      name.textContent = job.name;
      state.textContent = job.line || job.reason || job.state;
      link.href = `#${job.id}`;
      link.append(name, state);
      line.append(link);
      return line;
    }));
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
    const [file] = event.dataTransfer.files;
    if (file) send(file);
  });
  // A file that misses is not opened in place of the page.
  for (const kind of ["dragover", "drop"])
    addEventListener(kind, (event) => event.preventDefault());
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) send(file);
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
