// What the server does right now: its own metrics, read each second and drawn. Inlined into page.html.
"use strict";
const SECONDS = 60;
const live = {token: "", last: null, points: []};

function headers(more = {}) {
  return live.token ? {...more, Authorization: "Bearer " + live.token} : more;
}

function samples(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const match = /^(bedplate_\w+|nv_inference_pending_request_count)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] || "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(one => [one[1], one[2]]));
    found.push({name: match[1], labels, value: Number(match[3])});
  }
  return found;
}

function reading(text, name) {
  const now = {at: performance.now() / 1000, requests: 0, failed: 0, rows: 0, waiting: 0, buckets: new Map(), drift: NaN};
  for (const {name: metric, labels, value} of samples(text)) {
    if (labels.model !== name) continue;
    if (metric === "bedplate_requests_total") { now.requests += value; if (labels.status !== "200") now.failed += value; }
    else if (metric === "bedplate_rows_total") now.rows += value;
    else if (metric === "nv_inference_pending_request_count") now.waiting += value;
    else if (metric === "bedplate_drift") now.drift = value;
    else if (metric === "bedplate_request_seconds_bucket") {
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      now.buckets.set(bound, (now.buckets.get(bound) || 0) + value);
    }
  }
  return now;
}

function quantile(before, now, share) {
  const bounds = [...now.buckets.keys()].sort((a, b) => a - b);
  const counts = bounds.map(bound => now.buckets.get(bound) - (before.buckets.get(bound) || 0));
  const total = counts.length ? counts[counts.length - 1] : 0;
  if (total <= 0) return null;
  for (let k = 0, low = 0, seen = 0; k < bounds.length; low = bounds[k], seen = counts[k], k += 1) {
    if (counts[k] >= share * total) {
      return bounds[k] === Infinity ? low : low + (bounds[k] - low) * (share * total - seen) / Math.max(counts[k] - seen, 1);
    }
  }
  return null;
}

function chart(title, unit, series) {
  const width = 440, height = 130, left = 46, bottom = 18;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const put = (tag, fields, text) => {
    const node = document.createElementNS(svg.namespaceURI, tag);
    for (const [key, value] of Object.entries(fields)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    svg.append(node);
  };
  const values = series.flatMap(one => one.values.filter(value => value !== null));
  const top = Math.max(...values, 1e-9) * 1.15;
  const x = k => left + (width - left - 6) * (k + SECONDS - live.points.length) / (SECONDS - 1);
  const y = value => height - bottom - (height - bottom - 8) * value / top;
  const label = value => value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(1) : value.toPrecision(2);
  for (const share of [0, .5, 1]) {
    const value = top / 1.15 * share;
    put("line", {x1: left, x2: width - 6, y1: y(value), y2: y(value), class: "grid"});
    if (values.length) put("text", {x: left - 6, y: y(value) + 4, class: "tick", "text-anchor": "end"}, share ? label(value) : "0");
  }
  put("text", {x: left, y: height - 3, class: "tick"}, `${SECONDS} s ago`);
  put("text", {x: width - 6, y: height - 3, class: "tick", "text-anchor": "end"}, "now");
  for (const one of series) {
    const path = one.values.map((value, k) => value === null ? null : [x(k), y(value)]);
    let line = "", pen = false;
    for (const point of path) { line += point ? `${pen ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : ""; pen = point !== null; }
    if (line) put("path", {d: line, class: "line " + one.name});
  }
  const latest = series.map(one => [one.name, one.values.at(-1)]).filter(one => one[1] !== undefined && one[1] !== null);
  const words = latest.map(([name, value]) => `${name} ${label(value)} ${unit}`).join(" · ") || "nothing yet";
  svg.setAttribute("aria-label", `${title}: ${words}`);
  return make("figure", {}, make("figcaption", {}, make("strong", {textContent: title}), " " + words), svg);
}

function draw() {
  const of = key => live.points.map(point => point[key]);
  const parts = [
    chart("Throughput", "a second", [{name: "requests", values: of("requests")}, {name: "rows", values: of("rows")}]),
    chart("Time of a request", "ms", [{name: "p50", values: of("p50")}, {name: "p99", values: of("p99")}]),
  ];
  at("charts").replaceChildren(...parts);
  const newest = live.points.at(-1);
  if (!newest) return;
  const drift = Number.isNaN(newest.drift) ? "no full window yet" : newest.drift ? "drift in the last full window" : "no drift in the last full window";
  at("figures").textContent = `${newest.total.toLocaleString("en")} requests so far, ${newest.failed.toLocaleString("en")} refused or failed; ${newest.waiting} rows wait; ${drift}`;
}

async function versions(name) {
  const reply = await fetch(`/models/${encodeURIComponent(name)}/versions`, {headers: headers()});
  if (!reply.ok) return;
  const {versions, labels} = await reply.json();
  const rows = versions.map(one => {
    const tags = Object.entries(labels).filter(([, number]) => number === one.version).map(([label]) => make("span", {className: "tag", textContent: label}));
    return make("tr", {}, make("td", {textContent: one.version}), make("td", {textContent: one.state.toLowerCase()}),
      make("td", {}, make("code", {textContent: (one.bundle || "").slice(0, 12)})), make("td", {}, ...tags), make("td", {textContent: one.error || ""}));
  });
  const head = make("tr", {}, ...["version", "state", "bundle", "labels", ""].map(textContent => make("th", {textContent})));
  at("versions").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

async function tick() {
  if (!model || document.hidden) return;
  const name = model.name;
  const reply = await fetch("/metrics", {headers: headers()}).catch(() => null);
  at("locked").hidden = !(reply && (reply.status === 401 || reply.status === 403));
  if (!reply || !reply.ok) { live.last = null; return; }
  const now = reading(await reply.text(), name);
  const before = live.last;
  live.last = {...now, name};
  if (!before || before.name !== name) { live.points = []; draw(); return; }
  const seconds = Math.max(now.at - before.at, 1e-3);
  const milli = value => value === null ? null : value * 1000;
  live.points.push({
    requests: Math.max(0, now.requests - before.requests) / seconds, rows: Math.max(0, now.rows - before.rows) / seconds,
    p50: milli(quantile(before, now, .5)), p99: milli(quantile(before, now, .99)),
    total: now.requests, failed: now.failed, waiting: now.waiting, drift: now.drift,
  });
  live.points = live.points.slice(-SECONDS);
  draw();
}

at("token").onchange = event => { live.token = event.target.value.trim(); begin(); };
let beat = 0;
setInterval(() => { tick(); if (model && (beat += 1) % 3 === 0) versions(model.name); }, 1000);
