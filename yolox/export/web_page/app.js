// The page: opens the model, takes an image or the camera, and draws what is found. The network runs once for an image; the
// sliders only select anew.
import * as ort from "./ort.js";
import { select, toPlanes } from "./yolox.js";

const MOST_PIXELS = 16e6; // larger photos are made smaller first: phones refuse larger canvases
const COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"];
const get = (id) => document.getElementById(id);
const [stage, picture, sliders] = [get("stage"), get("picture"), [get("score"), get("iou")]];
const paper = picture.getContext("2d");
const hidden = document.createElement("canvas");
const brush = hidden.getContext("2d", { willReadFrequently: true });
let [model, session, last, stream, turn] = [null, null, null, null, Promise.resolve()];

function say(text, isError = false) {
  get("status").textContent = text;
  get("status").className = isError ? "error" : "";
}

async function start() {
  model = await (await fetched("model.json")).json();
  ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };
  ort.env.wasm.wasmBinary = await (await fetched("ort.wasm")).arrayBuffer(); // whatever type the server says that it has
  ort.env.wasm.numThreads = 1; // more need headers that simple servers do not send
  const bytes = new Uint8Array(await (await fetched("model.onnx")).arrayBuffer());
  session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  const { score_threshold: score, iou_threshold: iou } = model.postprocess;
  [sliders[0].value, sliders[1].value] = [score, iou];
  sliders.forEach(showValue);
  get("open").disabled = get("camera").disabled = false;
  const names = model.class_names;
  say(`Ready: ${names.length} ${names.length === 1 ? "class" : "classes"} (${names.slice(0, 5).join(", ")}${names.length > 5 ? ", ..." : ""}).`);
}

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  return response;
}

// Detects in an image or video of the given size and draws it, one after the other; returns the milliseconds that it took.
function detect(source, width, height) {
  turn = turn.catch(() => {}).then(() => detectNow(source, width, height));
  return turn;
}

async function detectNow(source, width, height) {
  [hidden.width, hidden.height] = [width, height];
  brush.fillStyle = "#fff"; // behind transparent pixels
  brush.fillRect(0, 0, width, height);
  brush.drawImage(source, 0, 0, width, height);
  const began = performance.now();
  const { planes, place } = toPlanes(brush.getImageData(0, 0, width, height).data, width, height, model.input);
  const input = new ort.Tensor("float32", planes, [1, 3, ...model.input.input_size]);
  const { [session.outputNames[0]]: output } = await session.run({ [session.inputNames[0]]: input });
  last = { rows: output.data, place, width, height };
  show();
  return performance.now() - began;
}

function show() {
  if (last === null) return;
  const [score, iou] = sliders.map((slider) => Number(slider.value));
  const settings = { ...model.postprocess, score_threshold: score, iou_threshold: iou };
  const found = select(last.rows, last.place, last.width, last.height, model.class_names, settings);
  stage.classList.add("full");
  [picture.width, picture.height] = [last.width, last.height];
  paper.drawImage(hidden, 0, 0);
  const [unit, placed] = [Math.max(Math.sqrt(last.width * last.height) / 300, 1), []];
  [...found].reverse().forEach((each) => drawBox(each, unit)); // the best on top
  found.forEach((each) => drawLabel(each, unit, placed));
  get("count").textContent = found.length === 0 ? "Nothing found above this score." : `${found.length} found`;
  get("found").replaceChildren(...found.map(listed));
}

// The colours of yolox.visualize.class_color: from the seventh class on lighter, then darker, and so on.
function channels(index) {
  const times = Math.floor(index / COLORS.length);
  const [towards, share] = [255 * (times % 2), 0.7 * ((times * 0.618) % 1)];
  const color = COLORS[index % COLORS.length];
  return [1, 3, 5].map((at) => Math.round(parseInt(color.slice(at, at + 2), 16) * (1 - share) + towards * share));
}

function color(index) {
  return `rgb(${channels(index).join(" ")})`;
}

function ink(index) {
  const [red, green, blue] = channels(index);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "#000" : "#fff";
}

function drawBox({ box: [x1, y1, x2, y2], index }, unit) {
  [paper.strokeStyle, paper.lineWidth] = [color(index), 1.5 * unit];
  paper.strokeRect(x1, y1, x2 - x1, y2 - y1);
}

// Writes a label above its box, or where it covers none of the labels `placed` before it.
function drawLabel({ box: [x1, y1, , y2], score, index, name }, unit, placed) {
  paper.font = `600 ${8 * unit}px system-ui, sans-serif`;
  const text = `${name} ${score.toFixed(2)}`;
  const [wide, high] = [paper.measureText(text).width + 4 * unit, 11 * unit];
  const left = Math.max(Math.min(x1, picture.width - wide), 0);
  const isFree = (top) => placed.every(([x, y, w]) => left >= x + w || left + wide <= x || top >= y + high || top + high <= y);
  const tops = [y1 - high, y1, y2, y1 - 2 * high, y1 + high].filter((top) => top >= 0 && top + high <= picture.height);
  const top = tops.find(isFree) ?? Math.max(y1 - high, 0);
  placed.push([left, top, wide]);
  paper.fillStyle = color(index);
  paper.fillRect(left, top, wide, high);
  paper.fillStyle = ink(index);
  paper.fillText(text, left + 2 * unit, top + 8.5 * unit);
}

function listed({ score, index, name }) {
  const [item, mark, value] = ["li", "i", "b"].map((tag) => document.createElement(tag));
  mark.style.background = color(index);
  value.textContent = score.toFixed(3);
  item.append(mark, name, value);
  return item;
}

async function openFile(file) {
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file); // turned upright as its EXIF says
  } catch {
    return say(`${file.name}: the browser cannot read it as an image.`, true);
  }
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const size = [bitmap.width, bitmap.height].map((side) => Math.max(Math.round(side * scale), 1));
  say(`${file.name} ...`);
  const time = await detect(bitmap, ...size);
  say(`${file.name}, ${bitmap.width} x ${bitmap.height}: ${time.toFixed(0)} ms`);
}

async function startCamera() {
  if (!navigator.mediaDevices) return say("The camera needs an https:// address, or localhost.", true);
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return say(`No camera: ${error.message || error.name}.`, true);
  }
  get("camera").textContent = "Stop the camera";
  const own = stream;
  const video = Object.assign(document.createElement("video"), { srcObject: own, muted: true, playsInline: true });
  await video.play();
  while (stream === own) {
    const time = await detect(video, video.videoWidth, video.videoHeight);
    if (stream === own) say(`Camera, ${video.videoWidth} x ${video.videoHeight}: ${time.toFixed(0)} ms an image`);
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  get("camera").textContent = "Start the camera";
}

function showValue(slider) {
  slider.nextElementSibling.textContent = Number(slider.value).toFixed(2);
}

const guarded = (action) => (...values) => Promise.resolve(action(...values)).catch((error) => say(`Error: ${error.message}`, true));
const chosen = guarded(openFile);
get("open").addEventListener("click", () => get("file").click());
get("file").addEventListener("change", ({ target }) => {
  if (target.files.length) chosen(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
get("camera").addEventListener("click", guarded(() => (stream ? stopCamera() : startCamera())));
sliders.forEach((slider) => slider.addEventListener("input", () => { showValue(slider); show(); }));
document.addEventListener("dragover", (event) => { event.preventDefault(); stage.classList.add("over"); });
document.addEventListener("dragleave", () => stage.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  if (session === null) return;
  if (event.dataTransfer.files.length) chosen(event.dataTransfer.files[0]);
  else say("Drop an image file.", true);
});
guarded(start)();
