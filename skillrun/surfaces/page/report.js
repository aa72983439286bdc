"use strict";
(() => {
  const find = document.getElementById("find");
  const found = document.getElementById("found");
  const fold = document.getElementById("fold");
  const steps = [...document.querySelectorAll("#steps > li")];
  let texts = null;
  let timer = 0;

  const chosen = () => document.querySelector("input[name=show]:checked").value;
  const shows = (step, kind) => kind === "all" || (kind in step.dataset);

  function paint(hits, query) {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    if (!query) return;
    const ranges = [];
    for (const step of hits.slice(0, 60)) {
      const walker = document.createTreeWalker(step, NodeFilter.SHOW_TEXT);
      while (walker.nextNode() && ranges.length < 500) {
        const text = walker.currentNode.data.toLowerCase();
        for (let at = text.indexOf(query); at >= 0 && ranges.length < 500; at = text.indexOf(query, at + query.length)) {
          const range = new Range();
          range.setStart(walker.currentNode, at);
          range.setEnd(walker.currentNode, at + query.length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  function filter() {
    const query = find.value.trim().toLowerCase();
    const kind = chosen();
    if (query && !texts) texts = steps.map((step) => step.textContent.toLowerCase());
    const hits = [];
    steps.forEach((step, index) => {
      const hit = shows(step, kind) && (!query || texts[index].includes(query));
      step.hidden = !hit;
      if (hit) hits.push(step);
    });
    const few = query.length > 1 && hits.length <= 30;
    for (const step of few ? hits : []) {
      const details = step.querySelector("details");
      if (details && !details.open && !details.querySelector("summary").textContent.toLowerCase().includes(query)) {
        details.open = true;
        details.dataset.byFind = "";
      }
    }
    if (!query) {
      for (const details of document.querySelectorAll("details[data-by-find]")) {
        details.open = false;
        delete details.dataset.byFind;
      }
    }
    found.textContent = query || kind !== "all" ? `${hits.length} of ${steps.length} shown` : "";
    paint(hits, query);
  }

  function foldAll() {
    const open = fold.getAttribute("aria-pressed") !== "true";
    for (const step of steps) {
      const details = step.querySelector("details");
      if (details) details.open = open;
    }
    fold.setAttribute("aria-pressed", String(open));
    fold.textContent = open ? "Close all" : "Open all";
  }

  function move(from, by) {
    const summaries = steps.filter((step) => !step.hidden).map((step) => step.querySelector("summary")).filter(Boolean);
    const next = summaries[summaries.indexOf(from) + by];
    if (next) next.focus();
  }

  function show(step) {
    if (!step) return;
    if (step.hidden) {
      find.value = "";
      document.querySelector("input[value=all]").checked = true;
      filter();
    }
    const details = step.querySelector("details");
    if (details) details.open = true;
    step.scrollIntoView({ block: "start" });
    const summary = step.querySelector("summary");
    if (summary) summary.focus({ preventScroll: true });
  }

  find.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  for (const input of document.querySelectorAll("input[name=show]")) input.addEventListener("change", filter);
  fold.addEventListener("click", foldAll);
  for (const part of document.querySelectorAll(".strip rect")) {
    part.addEventListener("click", () => show(document.getElementById(`s${part.dataset.step}`)));
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = event.target;
    if (event.key === "/" && !["INPUT", "TEXTAREA"].includes(at.tagName)) {
      event.preventDefault();
      find.focus();
    } else if (event.key === "Escape" && at === find) {
      find.value = "";
      filter();
    } else if (at.tagName === "SUMMARY" && at.closest("#steps") && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      move(at, event.key === "ArrowDown" ? 1 : -1);
    }
  });
  window.addEventListener("hashchange", () => show(steps.find((step) => `#${step.id}` === location.hash)));
})();
