// What pages do in addition to showing text: they follow the run, read charts under a pointer, and take keys.
"use strict";

const POLL_MS = 2000;

// Live: parts with data-live are replaced by those of the page as it is now.
let version = document.body.dataset.version;

async function follow() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/state", { cache: "no-store" });
    const now = (await answer.json()).version;
    if (now === version) return;
    const page = await fetch(location.href, { cache: "no-store" });
    if (!page.ok) return;
    const fresh = new DOMParser().parseFromString(await page.text(), "text/html");
    version = fresh.body.dataset.version;
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = fresh.getElementById(part.id);
      if (next && next.innerHTML !== part.dataset.shown && !part.contains(document.activeElement)) replace(part, next);
    }
  } catch {
    // the viewer was stopped, or is being started again
  }
}

function replace(part, next) {
  const selected = selectedRow();
  const shown = next.innerHTML;
  part.replaceChildren(...next.childNodes);
  part.dataset.shown = shown;
  prepare(part);
  if (selected >= 0) select(selected);
}

// Charts: the values at the pointer, or at the place that the arrow keys move to.
function prepare(root) {
  for (const plot of root.querySelectorAll(".plot")) {
    const curves = JSON.parse(plot.dataset.curves);
    const svg = plot.querySelector("svg");
    const steps = [...new Set(curves.flatMap(([, curve]) => curve.map(([step]) => step)))].sort((a, b) => a - b);
    if (!svg || !steps.length) continue;
    const output = document.createElement("output");
    svg.after(output);
    svg.setAttribute("tabindex", "0");
    const line = document.createElementNS(svg.namespaceURI, "line");
    for (const [name, value] of [["y1", 10], ["y2", 194], ["stroke", "currentColor"], ["stroke-opacity", 0]]) line.setAttribute(name, value);
    svg.append(line);
    const [left, right] = [52, 450];
    const first = steps[0], last = steps[steps.length - 1];
    const one = first === last;
    let place = steps.length - 1;
    const show = (index) => {
      place = Math.max(0, Math.min(steps.length - 1, index));
      const step = steps[place];
      const x = one ? (left + right) / 2 : left + ((step - first) / (last - first)) * (right - left);
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.setAttribute("stroke-opacity", 0.5);
      const values = curves.map(([label, curve]) => {
        const point = curve.find(([at]) => at === step);
        return point ? `${curves.length > 1 ? label + " " : ""}${Number(point[1].toPrecision(4))}` : "";
      });
      output.textContent = `step ${step}: ${values.filter(Boolean).join(", ")}`;
    };
    const hide = () => {
      line.setAttribute("stroke-opacity", 0);
      output.textContent = "";
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * 460;
      const wanted = first + ((x - left) / (right - left)) * (last - first);
      let nearest = 0;
      steps.forEach((step, index) => {
        if (Math.abs(step - wanted) < Math.abs(steps[nearest] - wanted)) nearest = index;
      });
      show(nearest);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("focus", () => show(place));
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, Home: -steps.length, End: steps.length }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      show(place + by);
    });
  }
}

// Keys: j and k select a row, [ and ] turn pages, / goes to the search.
const rows = () => [...document.querySelectorAll("[data-rows] tbody tr")];
const selectedRow = () => rows().findIndex((row) => row.getAttribute("aria-selected") === "true");

function select(index) {
  const all = rows();
  if (!all.length) return;
  const place = Math.max(0, Math.min(all.length - 1, index));
  all.forEach((row, at) => (at === place ? row.setAttribute("aria-selected", "true") : row.removeAttribute("aria-selected")));
  const link = all[place].querySelector("a");
  if (link) link.focus({ preventScroll: true });
  all[place].scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const turn = { "[": "prev", "]": "next" }[event.key];
  if (turn) document.querySelector(`a[rel=${turn}]`)?.click();
  else if (event.key === "j") select(selectedRow() + 1);
  else if (event.key === "k") select(selectedRow() - 1);
  else if (event.key === "/") (document.querySelector("input[name=text]") ?? document.querySelector("input[type=search]"))?.focus();
  else return;
  event.preventDefault();
});

// A form leaves its empty fields out of the address.
document.addEventListener("submit", (event) => {
  for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  setTimeout(() => [...event.target.elements].forEach((field) => (field.disabled = false)));
});

// A comparison's stages and verifiers are those of the chosen run.
for (const choice of document.querySelectorAll("select[name$=_run]")) {
  choice.addEventListener("change", () => choice.form.requestSubmit());
}

for (const part of document.querySelectorAll("[data-live]")) part.dataset.shown = part.innerHTML;
prepare(document);
setInterval(follow, POLL_MS);
