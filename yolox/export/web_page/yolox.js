// From an image to the input of the network, and from its rows to detections: what yolox.letterbox, yolox.export.runner.to_planes
// and yolox.postprocess do, as plain functions. `spec` and `postprocess` are those of model.json, which states the conventions.

// Place of a width x height image in the network's input: its size there, the offset, and input pixels per image pixel.
export function fit(width, height, spec) {
  const [rows, columns] = spec.input_size;
  const ratio = Math.min(rows / height, columns / width);
  const size = { width: Math.max(Math.floor(width * ratio), 1), height: Math.max(Math.floor(height * ratio), 1) };
  const centred = spec.letterbox === "center";
  return {
    ratio,
    ...size,
    left: centred ? Math.floor((columns - size.width) / 2) : 0,
    top: centred ? Math.floor((rows - size.height) / 2) : 0,
  };
}

// Source pixels and their weights for each of `to` pixels out of `from`: bilinear with two, area with all that are covered.
function taps(from, to, area) {
  const step = from / to;
  return Array.from({ length: to }, (_, i) => {
    if (area) {
      const [start, end] = [i * step, Math.min((i + 1) * step, from)];
      const found = [];
      for (let p = Math.floor(start); p < end; p++) {
        found.push([p, (Math.min(end, p + 1) - Math.max(start, p)) / (end - start)]);
      }
      return found;
    }
    const place = Math.min(Math.max((i + 0.5) * step - 0.5, 0), from - 1);
    const low = Math.min(Math.floor(place), Math.max(from - 2, 0));
    return [[low, 1 - (place - low)], [Math.min(low + 1, from - 1), place - low]];
  });
}

// RGBA bytes of an image -> RGB numbers of another size, in rows, rounded as bytes are.
export function resize(pixels, width, height, target, shrink = "linear") {
  const area = shrink === "area" && target.width <= width && target.height <= height;
  const [across, down] = [taps(width, target.width, area), taps(height, target.height, area)];
  const narrow = new Float32Array(height * target.width * 3);
  for (let y = 0, at = 0; y < height; y++) {
    for (const pair of across) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0;
        for (const [x, weight] of pair) sum += weight * pixels[(y * width + x) * 4 + channel];
        narrow[at++] = sum;
      }
    }
  }
  const row = target.width * 3;
  const result = new Float32Array(target.height * row);
  down.forEach((pair, y) => {
    for (const [from, weight] of pair) {
      for (let i = 0; i < row; i++) result[y * row + i] += weight * narrow[from * row + i];
    }
  });
  return result.map(Math.round);
}

// RGBA bytes of an image -> { planes, place }: float32 [3, H, W] as the network takes it, and the place of the image in it.
export function toPlanes(pixels, width, height, spec) {
  const [rows, columns] = spec.input_size;
  const place = fit(width, height, spec);
  const image = resize(pixels, width, height, place, spec.shrink_interpolation);
  const planes = new Float32Array(3 * rows * columns);
  for (let plane = 0; plane < 3; plane++) {
    const channel = spec.channel_order === "rgb" ? plane : 2 - plane;
    const number = (byte) => (byte * spec.pixel_scale - spec.mean[plane]) / spec.std[plane];
    const start = plane * rows * columns;
    planes.fill(number(spec.pad_value), start, start + rows * columns);
    for (let y = 0; y < place.height; y++) {
      for (let x = 0; x < place.width; x++) {
        const byte = image[(y * place.width + x) * 3 + channel];
        planes[start + (y + place.top) * columns + x + place.left] = number(byte);
      }
    }
  }
  return { planes, place };
}

// Rows [P, 5 + C] of the network -> detections { box, score, name } of one image, best first; box is x1, y1, x2, y2 in its pixels.
export function select(rows, place, width, height, names, postprocess) {
  const columns = 5 + names.length;
  const { score_threshold: least, iou_threshold: most } = postprocess;
  const found = [];
  for (let at = 0; at < rows.length; at += columns) {
    if (rows[at + 4] <= least) continue; // a class scores at most the objectness
    const scores = names.map((_, c) => [rows[at + 4] * rows[at + 5 + c], c]);
    const kept = postprocess.multi_label ? scores : [scores.reduce((best, each) => (each[0] > best[0] ? each : best))];
    for (const [score, c] of kept) if (score > least) found.push({ score, c, box: corners(rows, at) });
  }
  found.sort((a, b) => b.score - a.score);
  const selected = [];
  for (const each of found.slice(0, postprocess.max_candidates)) {
    if (selected.length >= postprocess.max_detections) break;
    if (!selected.some((other) => other.c === each.c && iou(other.box, each.box) > most)) selected.push(each);
  }
  return selected.map(({ score, c, box }) => ({ score, index: c, name: names[c], box: toImage(box, place, width, height) }));
}

function corners(rows, at) {
  const [x, y, w, h] = rows.slice(at, at + 4);
  return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
}

function iou(a, b) {
  const wide = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const high = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (wide * high) / (area(a) + area(b) - wide * high);
}

function toImage(box, place, width, height) {
  const [pads, limits] = [[place.left, place.top], [width, height]];
  return box.map((value, i) => Math.min(Math.max((value - pads[i % 2]) / place.ratio, 0), limits[i % 2]));
}
