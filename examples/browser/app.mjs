// The page: opens the bundle named by ?bundle= (or "bundle/"), replays its golden rows, and answers what is drawn.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
import { openBundle } from "./bundle.mjs";
import { canvasOf, pixelsOf } from "./pixels.mjs";

const $ = (id) => document.getElementById(id);
const pad = $("pad");
const brush = pad.getContext("2d", { willReadFrequently: true });

// The engine comes from this server, on one thread: more need headers that a plain file server doesn't send.
ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location.href).href;
ort.env.wasm.numThreads = 1;

let bundle, session;

function fail(error) {
  $("error").hidden = false;
  $("error").textContent = error.message ?? String(error);
}

/** Return the answers [rows × labels] to uint8 rows, and the milliseconds that they took. */
async function ask(data, rows) {
  const tensor = new ort.Tensor("uint8", data, [rows, ...bundle.shape]);
  const started = performance.now();
  const found = await session.run({ [bundle.input]: tensor });
  return { answers: found[bundle.output].data, milliseconds: performance.now() - started };
}

const best = (row) => row.indexOf(Math.max(...row));

/** Ask the golden rows again and say how many agree: the same label, and every number within the sealed tolerance. */
async function replay() {
  const { rows, answers: sealed } = bundle.golden;
  const count = rows.shape[0];
  await ask(rows.data, count); // the first run also prepares the engine
  const { answers, milliseconds } = await ask(rows.data, count);
  const width = bundle.labels.length;
  let agree = 0;
  let largest = 0;
  for (let k = 0; k < count; k++) {
    const [was, is] = [sealed.data, answers].map((all) => [...all.subarray(k * width, (k + 1) * width)]);
    const gaps = was.map((value, j) => Math.abs(value - is[j]));
    largest = Math.max(largest, ...gaps);
    const { atol, rtol } = bundle.tolerance;
    agree += best(was) === best(is) && gaps.every((gap, j) => gap <= atol + rtol * Math.abs(was[j]));
  }
  $("golden").className = agree === count ? "good" : "bad";
  $("golden").textContent =
    `${agree} of ${count} agree with what was sealed; largest difference ${largest.toExponential(1)}; ` +
    `${(milliseconds / count).toFixed(3)} ms a row.`;
}

async function answer(canvas) {
  try {
    $("error").hidden = true;
    const { answers, milliseconds } = await ask(pixelsOf(canvas, bundle.shape), 1);
    const row = [...answers];
    $("label").className = "";
    $("label").textContent = bundle.labels[best(row)];
    $("time").textContent = `${milliseconds.toFixed(2)} ms in this browser`;
    $("bars").replaceChildren(
      ...bundle.labels.map((label, k) => {
        const item = document.createElement("li");
        const [name, bar, share] = ["span", "meter", "span"].map((kind) => document.createElement(kind));
        name.textContent = label;
        bar.value = row[k];
        share.textContent = `${(100 * row[k]).toFixed(1)} %`;
        item.append(name, bar, share);
        return item;
      }),
    );
  } catch (error) {
    fail(error);
  }
}

function clear() {
  brush.fillStyle = "#000";
  brush.fillRect(0, 0, pad.width, pad.height);
  $("label").className = "none";
  $("label").textContent = "?";
  $("time").textContent = "";
  $("bars").replaceChildren();
}

async function take(file) {
  if (!file) return;
  try {
    const canvas = await canvasOf(file);
    brush.imageSmoothingEnabled = false;
    brush.drawImage(canvas, 0, 0, pad.width, pad.height);
    await answer(canvas);
  } catch (error) {
    fail(new Error(`${file.name} can't be read as an image`));
  }
}

function listen() {
  let last = null;
  const place = (event) => [event.offsetX, event.offsetY];
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    last = place(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (!last) return;
    Object.assign(brush, { strokeStyle: "#fff", lineWidth: 24, lineCap: "round", lineJoin: "round" });
    brush.beginPath();
    brush.moveTo(...last);
    brush.lineTo(...(last = place(event)));
    brush.stroke();
  });
  pad.addEventListener("pointerup", () => {
    last = null;
    answer(pad);
  });
  pad.addEventListener("dragover", (event) => {
    event.preventDefault();
    pad.classList.add("over");
  });
  pad.addEventListener("dragleave", () => pad.classList.remove("over"));
  pad.addEventListener("drop", (event) => {
    event.preventDefault();
    pad.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  $("file").addEventListener("change", (event) => take(event.target.files[0]));
  $("clear").addEventListener("click", clear);
}

try {
  clear();
  const folder = new URLSearchParams(location.search).get("bundle") ?? "bundle/";
  bundle = await openBundle(new URL(folder, location.href));
  session = await ort.InferenceSession.create(bundle.graph, { executionProviders: ["wasm"] });
  $("name").textContent = bundle.name;
  $("about").textContent =
    `${bundle.id.slice(0, 12)}, ${bundle.variant}, ${(bundle.graph.length / 1000).toFixed(1)} kB; ` +
    (bundle.verified ? "every file is as it was sealed" : "hashes were not checked: use localhost or HTTPS");
  await replay();
  listen();
  document.body.dataset.ready = "yes";
} catch (error) {
  fail(error);
}
