"use strict";
// Search, theme, zoom, copy, and the films: densities over time, drawn from the numbers that the page holds.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);

// Theme: that of the system, until the button chooses

const dark = matchMedia("(prefers-color-scheme: dark)");
const redraws = [];

function stored(value) {
  try {
    if (value !== undefined) localStorage.setItem("wfr_pde-theme", value);
    return localStorage.getItem("wfr_pde-theme");
  } catch {
    return null; // a browser may refuse to remember
  }
}

function setUpTheme() {
  const button = one("#theme"), root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const show = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    redraws.forEach((draw) => draw());
  };
  const before = stored();
  if (before === "light" || before === "dark") root.dataset.theme = before;
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = stored(isDark() ? "light" : "dark") ?? (isDark() ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

// Search

function setUpSearch() {
  const field = one("#search"), found = one("#found");
  const articles = all(".experiment").map((article) => {
    const copy = article.cloneNode(true);
    all("script, .badge", copy).forEach((part) => part.remove());
    return { article, text: copy.textContent.toLowerCase(), entry: one(`#index [data-of="${article.id}"]`) };
  });
  const count = all("#index li").length;
  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const { article, text, entry } of articles) {
      const fits = words.every((word) => text.includes(word));
      article.hidden = !fits;
      if (entry) entry.hidden = !fits;
      left += fits && entry ? 1 : 0;
    }
    found.textContent = words.length ? `${left} of ${count} experiments` : `${count} experiments`;
  };
  one(".find").hidden = false;
  field.addEventListener("input", filter);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      field.focus();
    }
    if (event.key === "Escape" && document.activeElement === field) {
      field.value = "";
      filter();
    }
  });
  filter();
}

// Copy

async function copied(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(source); // where the clipboard is out of reach, the text is selected at least
    return document.execCommand("copy");
  }
}

function setUpCopy() {
  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      const code = one("code", button.parentElement);
      button.textContent = (await copied(code.textContent, code)) ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  }
}

// Zoom

function setUpZoom() {
  const dialog = one("#zoom"), view = one(".view", dialog), image = one("img", view);
  let fitted = 1, scale = 1;
  const resize = (wanted) => {
    const before = scale, x = view.scrollLeft + view.clientWidth / 2, y = view.scrollTop + view.clientHeight / 2;
    scale = Math.min(Math.max(wanted, fitted / 2), 8 * Math.max(fitted, 1));
    image.style.width = `${image.naturalWidth * scale}px`;
    view.scrollTo((x * scale) / before - view.clientWidth / 2, (y * scale) / before - view.clientHeight / 2);
  };
  const fit = () => {
    image.style.width = 0; // without scroll bars
    fitted = Math.min(view.clientWidth / image.naturalWidth, view.clientHeight / image.naturalHeight);
    resize(fitted);
  };
  const actions = {
    in: () => resize(1.4 * scale), out: () => resize(scale / 1.4), fit, close: () => dialog.close(),
  };
  for (const button of all(".zoom")) {
    button.addEventListener("click", () => {
      const source = one("img", button);
      image.src = source.src;
      image.alt = source.alt;
      dialog.showModal();
      image.decode().then(fit);
    });
  }
  all("[data-zoom]").forEach((button) => button.addEventListener("click", actions[button.dataset.zoom]));
  dialog.addEventListener("keydown", (event) => {
    const action = { "+": "in", "=": "in", "-": "out", 0: "fit" }[event.key];
    if (action) actions[action]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.altKey) return; // plain wheels scroll; pinching sends ctrl
    event.preventDefault();
    resize(scale * Math.exp(-event.deltaY / 300));
  }, { passive: false });
  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return; // fingers scroll by themselves
    event.preventDefault();
    view.setPointerCapture(event.pointerId);
    const move = (to) => view.scrollBy(-to.movementX, -to.movementY);
    view.addEventListener("pointermove", move);
    view.addEventListener("pointerup", () => view.removeEventListener("pointermove", move), { once: true });
  });
  addEventListener("resize", () => dialog.open && fit());
}

// Films: numbers

async function decoded(content) {
  const bytes = Uint8Array.from(atob(content.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = planes.length / 2, numbers = new Uint16Array(size), columns = content.shape.at(-1);
  const rows = content.shape.at(-2);
  for (let k = 0; k < size; k++) {
    const hasLeft = k % columns > 0, hasAbove = Math.floor(k / columns) % rows > 0;
    const left = hasLeft ? numbers[k - 1] : 0, above = hasAbove ? numbers[k - columns] : 0;
    const corner = hasLeft && hasAbove ? numbers[k - columns - 1] : 0;
    numbers[k] = 256 * planes[k] + planes[size + k] + left + above - corner; // modulo 65536
  }
  return Float64Array.from(numbers, (q) => (q === 65535 ? NaN : content.low + content.step * q));
}

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= 0.999 * rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

function wholeTicks(low, high, count) {
  const step = Math.max(1, Math.ceil((high - low) / count));
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

const written = (x) => `${Number(x.toPrecision(4))}`.replace("e+", "e").replaceAll("-", "−");
const superscript = (n) => [...`${n}`].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");

// Films: drawing

const probe = document.createElement("span");
probe.hidden = true;

function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

const rgb = (name) => colour(name).match(/[\d.]+/g).slice(0, 3).map(Number);

function ramp(names) {
  const stops = names.map(rgb);
  return Array.from({ length: 256 }, (_, k) => {
    const at = (k / 255) * (stops.length - 1), first = Math.min(Math.floor(at), stops.length - 2);
    return stops[first].map((from, i) => Math.round(from + (at - first) * (stops[first + 1][i] - from)));
  });
}

const DASHES = [[], [7, 3], [8, 3, 2, 3], [2, 3], [8, 2, 2, 2, 2, 2], [1, 2], [12, 3]];
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

function cleared(canvas, height) {
  const width = canvas.clientWidth, ratio = devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = FONT;
  context.lineJoin = "round";
  return [context, width];
}

// Frame, grid, ticks and labels of a box in the canvas; `y` may have names of ticks of its own
function drawAxes(context, box, x, y) {
  const { left, top, width, height } = box;
  const place = (axis, value, from, length) => from + (length * (value - axis.low)) / (axis.high - axis.low);
  context.lineWidth = 1;
  context.strokeStyle = colour("grid");
  context.fillStyle = colour("soft");
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of x.ticks) {
    const at = Math.round(place(x, value, left, width)) + 0.5;
    if (x.grid) context.strokeRect(at, top, 0, height);
    context.fillText(written(value), at, top + height + 6);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of y.ticks) {
    const at = Math.round(top + height - place(y, value, 0, height)) + 0.5;
    if (x.grid) context.strokeRect(left, at, width, 0);
    context.fillText(y.name ? y.name(value) : written(value), left - 7, at);
  }
  context.fillStyle = colour("ink");
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText(x.label, left + width / 2, top + height + 40);
  context.save();
  context.translate(left - 45, top + height / 2);
  context.rotate(-Math.PI / 2);
  context.textBaseline = "middle";
  context.fillText(y.label, 0, 0);
  context.restore();
  context.strokeStyle = colour("soft");
  context.strokeRect(left + 0.5, top + 0.5, width, height);
}

function drawCurves(canvas, film, state) {
  const { content, values } = film, [, nFrames, n] = content.shape, x = content.axes[0].values;
  const names = content.series.map((name) => name || content.title).concat(content.target ? ["target"] : []);
  const legend = legendOf(canvas, names, 54, canvas.clientWidth - 66);
  const height = Math.min(380, Math.max(260, 0.5 * canvas.clientWidth)) + legend.height;
  const [context, width] = cleared(canvas, height);
  const box = { left: 54, top: legend.height, width: width - 66, height: height - legend.height - 48 };
  const logarithms = content.log && state.log;
  const shown = (value) => (logarithms ? value / Math.LN10 : content.log ? Math.exp(value) : value);
  const row = (series, frame) => values.subarray((series * nFrames + frame) * n, (series * nFrames + frame + 1) * n);
  let low = Infinity, high = -Infinity;
  for (let series = 0; series < content.shape[0]; series++) {
    for (let frame = state.same ? 0 : state.frame; frame < (state.same ? nFrames : state.frame + 1); frame++) {
      for (const value of row(series, frame)) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
  }
  [low, high] = high >= low ? [shown(low), shown(high)] : [0, 1];
  if (content.log && !state.log) low = 0;
  if (!(high > low)) high = low + 1;
  high += 0.04 * (high - low);
  const count = width < 480 ? 4 : 8;
  const axis = { low: x[0], high: x.at(-1), ticks: ticks(x[0], x.at(-1), count), label: content.axes[0].label, grid: true };
  drawAxes(context, box, axis, {
    low, high, label: content.title, ticks: logarithms ? wholeTicks(low, high, 6) : ticks(low, high, 5),
    name: logarithms ? (value) => `10${superscript(value)}` : undefined,
  });
  const sx = (value) => box.left + (box.width * (value - axis.low)) / (axis.high - axis.low);
  const sy = (value) => box.top + box.height * (1 - (value - low) / (high - low));
  const lines = content.series.map((name, series) => ({
    colour: colour(`c${content.colours[series]}`), dash: DASHES[content.colours[series]], width: 2,
    points: [...row(series, state.frame)].map((value, i) => [x[i], shown(content.log && isNaN(value) ? -Infinity : value)]),
  }));
  if (content.target) {
    const points = content.target[0].map(([at, value]) => [at, logarithms ? Math.log10(value) : value]);
    lines.push({ colour: colour("soft"), dash: [2, 2], width: 1.25, points });
  }
  drawLines(context, box, lines, sx, sy);
  drawLegend(context, legend, lines);
}

function drawLines(context, box, lines, sx, sy) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width + 1, box.height + 1);
  context.clip();
  for (const line of lines) {
    context.strokeStyle = line.colour;
    context.lineWidth = line.width;
    context.setLineDash(line.dash);
    context.beginPath();
    let down = false;
    for (const [at, value] of line.points) {
      if (!isFinite(value)) down = false;
      else if (down) context.lineTo(sx(at), sy(value));
      else context.moveTo(sx(at), sy(value)), (down = true);
    }
    context.stroke();
  }
  context.restore();
}

// Places of the names in a legend of as many rows as it takes
function legendOf(canvas, names, left, width) {
  if (names.length < 2) return { height: 8, places: [] };
  const context = canvas.getContext("2d"), places = [];
  context.font = FONT;
  let x = left, y = 10;
  for (const name of names) {
    const wide = 32 + context.measureText(name).width;
    if (x > left && x + wide > left + width) [x, y] = [left, y + 20];
    places.push({ name, x, y });
    x += wide + 20;
  }
  return { height: y + 18, places };
}

function drawLegend(context, legend, lines) {
  context.textAlign = "left";
  context.textBaseline = "middle";
  legend.places.forEach(({ name, x, y }, k) => {
    context.strokeStyle = lines[k].colour;
    context.lineWidth = lines[k].width;
    context.setLineDash(lines[k].dash);
    context.beginPath();
    context.moveTo(x, y - 0.5);
    context.lineTo(x + 26, y - 0.5);
    context.stroke();
    context.fillStyle = colour("ink");
    context.fillText(name, x + 32, y);
  });
  context.setLineDash([]);
}

function drawPicture(canvas, film, state) {
  const { content, values } = film, [, nFrames, ny, nx] = content.shape;
  const [x, y] = content.axes.map((axis) => axis.values);
  const spans = [x, y].map((points) => points.at(-1) - points[0]);
  const room = canvas.clientWidth - 54 - 62, shape = spans[1] / spans[0];
  const drawn = shape > 1 / 4 && shape < 4 ? shape : 0.7; // lengths to scale, unless the box is very long
  const boxWidth = Math.min(room, 460 / drawn), boxHeight = drawn * boxWidth;
  const [context] = cleared(canvas, boxHeight + 56);
  const box = { left: 54 + (room - boxWidth) / 2, top: 8, width: boxWidth, height: boxHeight };
  const size = nx * ny, first = (state.series * nFrames + state.frame) * size;
  const part = values.subarray(first, first + size), range = state.same ? values : part;
  const logarithms = content.log && state.log;
  const shown = (value) => (logarithms ? value / Math.LN10 : content.log ? Math.exp(value) : value);
  let low = Infinity, high = -Infinity;
  for (const value of range) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  [low, high] = high >= low ? [shown(low), shown(high)] : [0, 1];
  if (content.log && !state.log) low = 0;
  const signed = !content.log && low < 0 && high > 0;
  if (signed) [low, high] = [-Math.max(-low, high), Math.max(-low, high)];
  if (!(high > low)) high = low + 1;
  const shades = ramp(signed ? ["c1", "shade-0", "c0"] : ["shade-0", "shade-1", "shade-2"]);
  const image = new ImageData(nx, ny);
  for (let j = 0; j < ny; j++) {
    for (let i = 0; i < nx; i++) {
      const value = shown(part[j * nx + i]), at = 4 * ((ny - 1 - j) * nx + i);
      const shade = shades[Math.round(255 * Math.min(Math.max((value - low) / (high - low), 0), 1)) || 0];
      image.data.set([...shade, 255], at);
    }
  }
  const small = new OffscreenCanvas(nx, ny);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingQuality = "high";
  // values are at the middles of the first and last pixels
  const dx = boxWidth / (nx - 1), dy = boxHeight / (ny - 1);
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  context.drawImage(small, box.left - dx / 2, box.top - dy / 2, boxWidth + dx, boxHeight + dy);
  context.restore();
  const sx = (value) => box.left + (box.width * (value - x[0])) / spans[0];
  const sy = (value) => box.top + box.height * (1 - (value - y[0]) / spans[1]);
  if (content.target) {
    const lines = content.target.map((points) => ({ points, colour: colour("c1"), dash: [], width: 1 }));
    drawLines(context, box, lines, sx, sy);
  }
  const count = boxWidth < 300 ? 4 : 6;
  drawAxes(
    context, box,
    { low: x[0], high: x.at(-1), ticks: ticks(x[0], x.at(-1), count), label: content.axes[0].label },
    { low: y[0], high: y.at(-1), ticks: ticks(y[0], y.at(-1), count), label: content.axes[1].label },
  );
  drawShades(context, box, shades, { low, high, logarithms });
}

function drawShades(context, box, shades, scale) {
  const left = box.left + box.width + 14, step = box.height / 256;
  shades.forEach((shade, k) => {
    context.fillStyle = `rgb(${shade.join(" ")})`;
    context.fillRect(left, box.top + box.height - (k + 1) * step, 12, step + 0.6);
  });
  context.strokeStyle = colour("soft");
  context.lineWidth = 1;
  context.strokeRect(left + 0.5, box.top + 0.5, 12, box.height);
  context.fillStyle = colour("soft");
  context.textAlign = "left";
  context.textBaseline = "middle";
  const { low, high, logarithms } = scale;
  for (const value of logarithms ? wholeTicks(low, high, 5) : ticks(low, high, 4)) {
    const at = box.top + box.height * (1 - (value - low) / (high - low));
    context.fillText(logarithms ? `10${superscript(value)}` : written(value), left + 17, at);
  }
}

// Films: controls

function option(options, text, checked, changed) {
  const label = document.createElement("label"), box = document.createElement("input");
  box.type = "checkbox";
  box.checked = checked;
  box.addEventListener("change", () => changed(box.checked));
  label.append(box, text);
  options.append(label);
}

function choice(options, names, changed) {
  const label = document.createElement("label"), select = document.createElement("select");
  names.forEach((name, k) => select.add(new Option(name, k)));
  select.addEventListener("change", () => changed(Number(select.value)));
  label.append("Show", select);
  options.append(label);
}

// Whether the highest values of the frames are so close that one scale serves them all: shades tell less than heights
function isEven({ content, values }) {
  const length = values.length / (content.shape[0] * content.shape[1]), peaks = [];
  for (let k = 0; k < values.length; k += length) {
    peaks.push(values.subarray(k, k + length).reduce((most, value) => (value > most ? value : most), -Infinity));
  }
  const seen = peaks.filter(isFinite);
  return !content.log || Math.max(...seen) - Math.min(...seen) < Math.log(content.ndim === 1 ? 10 : 3);
}

async function setUpFilm(figure) {
  const canvas = one("canvas", figure), slider = one("input", figure), output = one("output", figure);
  const content = JSON.parse(one("script", figure).textContent);
  const film = { content, values: await decoded(content) };
  const state = { frame: 0, series: 0, log: false, same: isEven(film) };
  const draw = () => {
    state.frame = Number(slider.value);
    const name = content.frames[state.frame];
    output.textContent = name;
    slider.setAttribute("aria-valuetext", name);
    canvas.setAttribute("aria-label", `${figure.dataset.alt} (${name})`);
    if (canvas.clientWidth) (content.ndim === 1 ? drawCurves : drawPicture)(canvas, film, state);
  };
  const options = one(".options", figure);
  const set = (name) => (value) => {
    state[name] = value;
    draw();
  };
  if (content.ndim === 2 && content.series.length > 1) choice(options, content.series, set("series"));
  if (content.log) option(options, "logarithmic", state.log, set("log"));
  option(options, "one scale for all times", state.same, set("same"));
  slider.addEventListener("input", draw);
  setUpPlay(one(".play", figure), slider, draw);
  redraws.push(draw);
  new ResizeObserver(draw).observe(figure);
  draw();
}

function setUpPlay(button, slider, draw) {
  const last = Number(slider.max);
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const advance = () => {
    slider.value = Number(slider.value) + 1;
    draw();
    if (Number(slider.value) >= last) stop();
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) >= last) slider.value = 0;
    button.textContent = "Pause";
    timer = setInterval(advance, Math.min(700, Math.max(80, 5000 / (last + 1))));
  });
  slider.addEventListener("input", stop);
}

async function setUpFilms() {
  document.body.append(probe);
  for (const figure of all(".film")) {
    try {
      await setUpFilm(figure);
    } catch (error) {
      one(".note", figure).textContent = `This browser cannot draw the densities over time (${error.message}).`;
      one(".note", figure).hidden = false;
    }
  }
  document.body.dataset.ready = "true";
}

setUpTheme();
setUpSearch();
setUpCopy();
setUpZoom();
setUpFilms();
