"use strict";
/* What one sees and touches: the drawing area, the results, the layers' pictures. Wants playground_network.js before it. */

const TITLES = {float: "Float", pruned: "Pruned", int8: "Int8"};
const TEMPERATURES = [0.5, 0.7, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20];
const SIDE = 280, PEN = 22;  // of the drawing area: its side, the pen's width
const STEP = 10, EDGE = 20;  // an arrow key's step; how near to the edge these keys move the pen
const QUIET = 500;  // milliseconds without a change after which the result is read out

const data = JSON.parse(document.getElementById("data").textContent);
const models = Object.fromEntries(Object.entries(data.models).map(([name, model]) => [name, load(model)]));
const classes = models.int8.layers.at(-1).shape[0];

const byId = (id) => document.getElementById(id);
const drawing = byId("drawing").getContext("2d");
const ink = Object.assign(document.createElement("canvas"), {width: SIDE, height: SIDE})
  .getContext("2d", {willReadFrequently: true});
const pen = {x: SIDE / 2, y: SIDE / 2, down: false, byKeys: false};
const shown = {pixels: null, sample: null, outputs: null, whose: "int8", announcement: 0, frame: 0};

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/* For programs: run all three models on an image.
 *
 * pixels: Uint8Array(784), 28 rows of 28, 0 to 255, white on black. The page stays as it is.
 * Returns logits: {int8: Int8Array, float: Float32Array, pruned: Float32Array}.
 */
window.minigrad = {
  run(pixels) {
    return Object.fromEntries(Object.entries(models).map(([name, model]) => [name, run(model, pixels).at(-1)]));
  },
};

function clearInk() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, SIDE, SIDE);
  choose(null);
}

/* Draw a line from where the pen is, and move it; where it stays, that makes a dot. */
function drawTo(x, y) {
  if (shown.sample) clearInk();
  ink.lineWidth = PEN;
  ink.lineCap = ink.lineJoin = "round";
  ink.strokeStyle = "#fff";
  ink.beginPath();
  ink.moveTo(pen.x, pen.y);
  ink.lineTo(x, y);
  ink.stroke();
  Object.assign(pen, {x, y});
  changed();
}

function inkPixels() {
  const image = ink.getImageData(0, 0, SIDE, SIDE).data;
  return frame(Uint8Array.from({length: SIDE * SIDE}, (_, at) => image[4 * at]), SIDE);
}

/* Show a sample in place of a drawing; null: none. */
function choose(sample) {
  shown.sample = sample;
  for (const button of byId("samples").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.sample === sample));
  }
  changed();
}

function place(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) * SIDE / box.width, (event.clientY - box.top) * SIDE / box.height];
}

function listenToPointers(canvas) {
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = place(canvas, event);
    Object.assign(pen, {x, y, down: true, byKeys: false});
    drawTo(x, y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!event.isPrimary || !pen.down || pen.byKeys) return;
    const parts = event.getCoalescedEvents?.() ?? [];  // since the last frame; not in every browser
    for (const part of parts.length ? parts : [event]) drawTo(...place(canvas, part));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => { pen.down = pen.down && pen.byKeys; });
  }
}

const MOVES = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};

function listenToKeys(canvas) {
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (MOVES[event.key]) movePen(...MOVES[event.key]);
    else if (event.key === " ") pressPen();
    else if (event.key === "Delete" || event.key === "Backspace") clearInk();
    else return;
    event.preventDefault();  // neither scroll nor go back
    showPen();
  });
  canvas.addEventListener("focus", () => {
    if (canvas.matches(":focus-visible")) showPen();  // came by keyboard
  });
  canvas.addEventListener("blur", () => {
    if (pen.byKeys) pen.down = pen.byKeys = false;
    byId("pen").textContent = "";
    paintDrawing();
  });
}

function movePen(dx, dy) {
  const x = clamp(pen.x + dx, EDGE, SIDE - EDGE), y = clamp(pen.y + dy, EDGE, SIDE - EDGE);
  if (pen.down) drawTo(x, y);
  Object.assign(pen, {x, y});
}

function showPen() {
  pen.byKeys = true;
  const column = Math.round(pen.x / STEP), row = Math.round(pen.y / STEP);
  byId("pen").textContent = `Pen ${pen.down ? "down" : "up"}, column ${column}, row ${row} of ${SIDE / STEP}.`;
  paintDrawing();
}

function pressPen() {
  pen.down = !pen.down;
  if (pen.down) drawTo(pen.x, pen.y);
}

/* Compute and paint, once a frame however much has changed; and read the result out when it has become quiet. */
function changed() {
  cancelAnimationFrame(shown.frame);
  shown.frame = requestAnimationFrame(update);
  clearTimeout(shown.announcement);
  shown.announcement = setTimeout(announce, QUIET);
}

function update() {
  const pixels = shown.sample ? shown.sample.pixels : inkPixels();
  const empty = pixels.every((p) => p === 0);
  shown.pixels = pixels;
  shown.outputs = empty ? null
    : Object.fromEntries(Object.entries(models).map(([name, model]) => [name, run(model, pixels)]));
  paintPixels(byId("seen"), pixels);
  paintDrawing();
  paintLogits();
  paintLayers();
}

function paintDrawing() {
  if (shown.sample) {
    drawing.imageSmoothingEnabled = false;
    drawing.drawImage(byId("seen"), 0, 0, SIDE, SIDE);
  } else drawing.drawImage(ink.canvas, 0, 0);
  if (!pen.byKeys) return;
  for (const [color, width] of [["#000", 5], ["#ffb000", 3]]) {  // seen on black and on white
    drawing.beginPath();
    drawing.arc(pen.x, pen.y, PEN / 2, 0, 2 * Math.PI);
    drawing.lineWidth = width;
    drawing.strokeStyle = color;
    drawing.stroke();
    if (pen.down && width === 3) {
      drawing.fillStyle = color;
      drawing.fill();
    }
  }
}

function paintPixels(canvas, pixels) {
  const image = new ImageData(28, 28);
  pixels.forEach((p, i) => image.data.set([p, p, p, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/* Return a model's logits in real numbers, and its soft targets. */
function verdict(name) {
  const layer = models[name].layers.at(-1), integers = shown.outputs[name].at(-1);
  const logits = realValues(layer, integers), targets = softTargets(logits, temperature());
  return {integers, logits, targets, best: targets.indexOf(Math.max(...targets))};
}

const temperature = () => TEMPERATURES[byId("temperature").value];
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;  // on one line
const minus = (text) => text.replace("-", "−");

function paintLogits() {
  byId("degrees").textContent = `T = ${temperature()}`;
  byId("temperature").setAttribute("aria-valuetext", `T = ${temperature()}`);
  for (const name of Object.keys(TITLES)) {
    const found = shown.outputs && verdict(name);
    for (let k = 0; k < classes; k++) {
      const cell = byId("logits").tBodies[0].rows[k].querySelector(`.${name}`);
      cell.classList.toggle("best", Boolean(found) && found.best === k);
      cell.style.setProperty("--part", found ? `${100 * found.targets[k]}%` : "0%");
      if (!found) cell.replaceChildren("–");
      else {
        const integer = name === "int8" ? [" ", element("span", {textContent: minus(`q = ${found.integers[k]}`)})] : [];
        const logit = element("small", {}, minus(found.logits[k].toFixed(2)), ...integer);
        cell.replaceChildren(percent(found.targets[k]), logit);
      }
    }
  }
}

function announce() {
  if (!shown.outputs) {
    byId("said").textContent = "Nothing is drawn yet.";
    return;
  }
  const parts = Object.keys(TITLES).map((name) => {
    const {best, targets} = verdict(name);
    return `${TITLES[name]}: ${best}, ${percent(targets[best])}`;
  });
  const digit = shown.sample ? `Test image of a ${shown.sample.label}. ` : "";
  const degrees = temperature() === 1 ? "" : ` At T\u00a0=\u00a0${temperature()}.`;
  byId("said").textContent = `${digit}${parts.join("; ")}.${degrees}`;
}

const POSITIVE = [0, 114, 178], NEGATIVE = [184, 92, 0], ZERO = [255, 255, 255], GAP = [138, 138, 138];

function paintLayers() {
  const model = models[shown.whose], pictures = [];
  model.layers.forEach((layer, i) => {
    if (layer.kind === "flatten") return;  // the same numbers in the same order
    const values = shown.outputs ? realValues(layer, shown.outputs[shown.whose][i]) : null;
    pictures.push(layerPicture(layer, values, byId("activations").clientWidth));
  });
  byId("activations").replaceChildren(...pictures);
}

/* Return a figure of a layer's outputs: a square for each channel, or for each number of a vector. */
function layerPicture(layer, values, room) {
  const [count, height, width] = [layer.shape[0], layer.shape[1] ?? 1, layer.shape[2] ?? 1];
  const large = layer.shape.length > 1 ? 48 : count > 20 ? 10 : 24;
  const scale = Math.max(1, Math.floor(large / Math.max(height, width))), gap = large > 24 ? 3 : 1;
  const most = clamp(Math.floor((room - gap) / (width * scale + gap)), 1, 30);
  const columns = Math.ceil(count / Math.ceil(count / most));
  const canvas = element("canvas", {
    width: columns * (width * scale + gap) + gap, height: Math.ceil(count / columns) * (height * scale + gap) + gap,
  });
  const size = layer.shape.length > 1 ? `${count} channels of ${height} × ${width}` : `${count} numbers`;
  let said = size;
  const tiles = {count, height, width, scale, gap, columns};
  if (!values) paintTiles(canvas, new Float32Array(count * height * width), 1, tiles);
  else {
    const largest = values.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
    const zeros = values.reduce((number, value) => number + (value === 0 ? 1 : 0), 0);
    paintTiles(canvas, values, largest || 1, tiles);
    said += `; largest magnitude ${largest.toPrecision(3)}; ${percent(zeros / values.length)} are zero`;
  }
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${layer.name}: ${said}`);
  const caption = element("figcaption", {}, element("strong", {textContent: layer.name}), `: ${said}`);
  return element("figure", {}, canvas, caption);
}

function paintTiles(canvas, values, largest, {count, height, width, scale, gap, columns}) {
  const image = new ImageData(canvas.width, canvas.height);
  const paint = (x, y, color) => image.data.set([...color, 255], 4 * (y * canvas.width + x));
  const across = width * scale + gap, down = height * scale + gap;
  for (let c = 0; c < count; c++) {
    const left = (c % columns) * across, top = Math.floor(c / columns) * down;
    for (let y = 0; y < down + gap; y++) {
      for (let x = 0; x < across + gap; x++) {
        const row = Math.floor((y - gap) / scale), column = Math.floor((x - gap) / scale);
        const inside = row >= 0 && row < height && column >= 0 && column < width;
        const value = inside ? values[(c * height + row) * width + column] / largest : 0;
        paint(left + x, top + y, inside ? blend(value) : GAP);
      }
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function blend(value) {
  const end = value < 0 ? NEGATIVE : POSITIVE, part = Math.abs(value);
  return ZERO.map((zero, i) => Math.round(zero + part * (end[i] - zero)));
}

function buildTable() {
  const titles = Object.values(TITLES).map((textContent) => element("th", {scope: "col", textContent}));
  byId("logits").tHead.append(element("tr", {}, element("th", {scope: "col", textContent: "Digit"}), ...titles));
  for (let k = 0; k < classes; k++) {
    const cells = Object.keys(TITLES).map((className) => element("td", {className}));
    byId("logits").tBodies[0].append(element("tr", {}, element("th", {scope: "row", textContent: k}), ...cells));
  }
}

function buildSizes() {
  const thousands = (number) => number.toLocaleString("en");
  for (const [name, size] of Object.entries(data.sizes)) {
    const share = name === "float" ? "" : ` (${percent(size.bytes / data.sizes.float.bytes)})`;
    const texts = [thousands(size.bytes) + share, `${thousands(size.nonzeros)} of ${thousands(size.weights)}`, size.how];
    const cells = texts.map((textContent) => element("td", {textContent}));
    byId("sizes").tBodies[0].append(element("tr", {}, element("th", {scope: "row", textContent: TITLES[name]}), ...cells));
  }
  byId("about").textContent = data.about;
}

function buildSamples() {
  byId("samples").hidden = data.samples.length === 0;
  for (const {label, pixels} of data.samples) {
    const sample = {label, pixels: decode(pixels)};
    const canvas = element("canvas", {width: 28, height: 28});
    paintPixels(canvas, sample.pixels);
    const button = element("button", {type: "button", sample, onclick: () => choose(sample)}, canvas);
    button.setAttribute("aria-label", `Test image of a ${label}`);
    byId("samples").querySelector(".pictures").append(button);
  }
}

function buildChoice() {
  for (const [value, title] of Object.entries(TITLES)) {
    const input = element("input", {type: "radio", name: "whose", value, checked: value === shown.whose});
    input.addEventListener("change", () => {
      shown.whose = value;
      paintLayers();
    });
    byId("whose").append(element("label", {}, input, title));
  }
}

buildTable();
buildSizes();
buildSamples();
buildChoice();
listenToPointers(byId("drawing"));
listenToKeys(byId("drawing"));
byId("clear").addEventListener("click", clearInk);
byId("temperature").addEventListener("input", () => {
  paintLogits();
  clearTimeout(shown.announcement);
  shown.announcement = setTimeout(announce, QUIET);
});
window.addEventListener("resize", paintLayers);
clearInk();
