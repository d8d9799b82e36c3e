// The page of the service: an image is sent once; everything after that is drawn here from the JSON answer.

import { $, FAINT, Problem, build, capital, count, fineness, html, milliseconds, request, say, style, svg } from "./common.js";
import { runCamera, stopCamera } from "./live.js";

const LOWEST_SCORE = 0.2; // The request keeps people down to this score, so that the slider needs no further request.

let info = null;
let running = null; // The AbortController of the image being analysed.
let shown = null; // The last image with an answer.
let pinned = null; // The person that was clicked: stays highlighted when the pointer leaves.
let retry = null;

async function learn() {
  info = (await request("info")).answer;
  $("pipeline").textContent = info.name;
  $("threshold").value = info.detThreshold;
  $("about").hidden = false;
  $("models").replaceChildren(
    ...[...info.models, ...info.sideBySide].flatMap((used) => {
      const { model, task, backend, version, variant, device, threads, workers } = used;
      const release = (version ?? "").split("-")[0]; // OpenVINO's goes on with the build and the branch.
      const cores = [threads && `${threads}\u00a0threads`, workers > 1 && `${workers}\u00a0workers`];
      const runtime = [`${backend} ${release}`.trim(), variant, device, ...cores];
      return [
        html("dt", {}, capital(spaced(task))),
        html("dd", {}, html("strong", {}, model), runtime.filter(Boolean).join(" · ")),
      ];
    }),
  );
}

/** Like the header Server-Timing: name;dur=1.5, name;dur=2. The browser parses it too, but not over plain HTTP. */
function stagesOf(header) {
  return (header ?? "").split(",").flatMap((entry) => {
    const [name, ...parameters] = entry.split(";").map((part) => part.trim());
    const duration = parameters.map((part) => /^dur="?([\d.]+)/i.exec(part)).find(Boolean);
    return duration && name !== "total" ? [{ name, ms: Number(duration[1]) }] : [];
  });
}

// From a file to a result

async function analyse(file, name) {
  stopCamera();
  running?.abort();
  const { signal } = (running = new AbortController());
  const before = shown;
  const image = { name, url: URL.createObjectURL(file), people: [] };
  try {
    forgive();
    const preview = $("image").cloneNode();
    preview.src = image.url;
    try {
      await preview.decode();
    } catch {
      throw new Problem("The browser cannot show this file as an image. Try JPEG, PNG, WebP or BMP.", { again: false });
    }
    signal.throwIfAborted();
    Object.assign(image, { width: preview.naturalWidth, height: preview.naturalHeight });
    busy(true);
    place(image);
    if (!info) await learn();
    const start = performance.now();
    const target = `human-keypoint-detection?detThreshold=${LOWEST_SCORE}`;
    // Browsers guess the type from the name, and do not know every one.
    const headers = { "Content-Type": file.type.startsWith("image/") ? file.type : "application/octet-stream" };
    const { answer, response } = await request(target, { method: "POST", headers, body: file, signal });
    image.total = performance.now() - start;
    image.stages = stagesOf(response.headers.get("Server-Timing"));
    image.answer = answer;
    // The strongest first, so that a higher threshold takes people from the end and the others keep their numbers.
    image.people = answer.result.persons.map((person) => ({ ...person })).sort((a, b) => b.detScore - a.detScore);
    signal.throwIfAborted();
    shown = image;
    busy(false);
    place(image);
    if (before) URL.revokeObjectURL(before.url);
  } catch (error) {
    if (signal.aborted) return;
    busy(false);
    if (before) place(before);
    complain(error, name, () => analyse(file, name));
  }
}

async function sample() {
  try {
    const response = await fetch("page/sample.png");
    await analyse(await response.blob(), "sample.png");
  } catch {
    complain(new Problem("The service cannot be reached."), "", sample);
  }
}

/** Shows the camera until it is stopped. */
async function watch() {
  let problem = null;
  forgive();
  document.body.classList.add("with-camera");
  $("stop").focus();
  try {
    if (!info) await learn();
    await runCamera(info);
  } catch (error) {
    problem = error;
  }
  const moves = $("stop") === document.activeElement;
  document.body.classList.remove("with-camera");
  if (moves) $(shown ? "camera-again" : "camera").focus();
  say(shown ? summary() : "");
  if (problem) complain(problem, "", watch);
}

function busy(yes) {
  $("progress").hidden = !yes;
  $("aside").setAttribute("aria-busy", String(yes));
  $("download").disabled = yes || !shown;
  if (yes) say("Looking for people …");
}

function complain(error, name, action) {
  if (!(error instanceof Problem)) console.error(error);
  const { message, status, logId, again } = error;
  retry = action;
  say(shown ? summary() : "");
  $("failure").hidden = false;
  $("message").replaceChildren(
    ...(name ? [html("strong", {}, name), ": "] : []), message,
    ...(logId ? [html("code", {}, `Log ID ${logId}`)] : []),
  );
  $("token-form").hidden = status !== 401;
  $("again").hidden = !again;
  if (status === 401) $("token").focus();
}

function forgive() {
  if ($("failure").contains(document.activeElement)) $($("result").hidden ? "drop" : "choose").focus();
  $("failure").hidden = true;
  $("message").replaceChildren();
}

// Drawing

function place(image) {
  const { url, width, height, people } = image;
  const moves = $("welcome").contains(document.activeElement);
  $("welcome").hidden = true;
  $("result").hidden = $("legend").hidden = false;
  if (moves) $("choose").focus(); // The button that was used is gone.
  $("name").textContent = `${image.name} · ${width} × ${height}`;
  $("image").src = url;
  $("image").alt = image.name;
  style($("frame"), "--ratio", width / height);
  $("overlay").setAttribute("viewBox", `0 0 ${width} ${height}`);
  people.forEach((person, index) => prepare(person, index));
  $("overlay").replaceChildren(...people.map((person) => person.figure));
  fit(image);
  if (!image.answer) return; // The lists of the last image stay, dimmed, instead of flickering.
  $("people").replaceChildren(...people.map((person) => person.item));
  $("marks").replaceChildren(...people.map((person) => person.mark));
  $("show").hidden = $("time").hidden = false;
  pinned = null;
  showTimes(image);
  filter();
}

const spaced = (name) => name.replaceAll("_", " ");

function side(name) {
  return /^(left|right)_/.exec(name)?.[1] ?? "middle";
}

/** The index of the same keypoint on the other side, or -1. */
function twin(index) {
  const { keypoints } = info.skeleton;
  const name = keypoints[index];
  const other = { left: "right", right: "left" }[side(name)];
  return other ? keypoints.indexOf(name.replace(/^(left|right)/, other)) : -1;
}

/** The side of a bone: shoulder to shoulder is the middle; nose to eye is the side of the eye. */
function sideOf(names) {
  const sides = new Set(names.map(side));
  if (sides.size > 1) sides.delete("middle");
  return sides.size > 1 ? "middle" : [...sides][0];
}

function prepare(person, index) {
  if (person.figure) return;
  const { keypoints, edges: bones } = info.skeleton;
  const [x1, y1, x2, y2] = person.bbox;
  const box = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
  const known = ([x, y]) => Number.isFinite(x) && Number.isFinite(y);
  const faint = (...points) => (points.some((point) => point[2] < FAINT) ? " faint" : "");
  const limbs = bones
    .map(([a, b]) => ({ ends: [person.kpts[a], person.kpts[b]], side: sideOf([keypoints[a], keypoints[b]]) }))
    .filter(({ ends }) => ends.every((end) => end && known(end)));
  const line = ({ ends: [[ax, ay], [bx, by]] }, name) => svg("line", { x1: ax, y1: ay, x2: bx, y2: by, class: name });
  person.labels = person.kpts.flatMap((point, keypoint) => {
    const text = svg("text", { class: `keypoint-name${faint(point)}` }, spaced(keypoints[keypoint]));
    return known(point) ? [{ point, twin: person.kpts[twin(keypoint)], text }] : [];
  });
  person.tag = svg("g", { class: "tag" }, svg("rect"), svg("text", {}, String(index + 1)));
  person.figure = svg(
    "g", { class: "person" },
    svg("rect", { ...box, class: "box-casing" }), svg("rect", { ...box, class: "box" }),
    ...limbs.map((limb) => line(limb, `casing${faint(...limb.ends)}`)),
    ...limbs.map((limb) => line(limb, `limb ${limb.side}${faint(...limb.ends)}`)),
    ...person.kpts.flatMap((point, keypoint) => {
      const [cx, cy] = point;
      return known(point) ? [svg("circle", { cx, cy, class: `dot ${side(keypoints[keypoint])}${faint(point)}` })] : [];
    }),
    person.tag, ...person.labels.map((label) => label.text),
  );
  const button = html(
    "button", { type: "button", "aria-pressed": "false" },
    html("b", {}, String(index + 1)),
    html("span", {}, `detection ${person.detScore.toFixed(2)}`),
    html("span", {}, `keypoints ${person.kptScore.toFixed(2)}`),
  );
  button.setAttribute("aria-label", `Person ${[...button.children].map((part) => part.textContent).join(", ")}`);
  person.item = html("li", {}, button);
  person.mark = style(html("i"), "--at", `${clamp((person.detScore - LOWEST_SCORE) / (0.9 - LOWEST_SCORE), 0, 1) * 100}%`);
  for (const element of [button, person.figure]) {
    element.addEventListener("pointerenter", () => highlight(person));
    element.addEventListener("pointerleave", () => highlight(pinned));
    element.addEventListener("click", () => pin(person));
  }
  button.addEventListener("focus", () => highlight(person));
  button.addEventListener("blur", () => highlight(pinned));
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Keeps lines and letters at the same size on the screen, whatever the size of the image and of the window. */
function fit({ width, height, people }) {
  const unit = width / ($("frame").clientWidth || width);
  style($("overlay"), "--u", unit);
  for (const person of people) {
    const [x1, y1, x2, y2] = person.bbox;
    style(person.figure, "--k", fineness(info.skeleton) * clamp(Math.hypot(x2 - x1, y2 - y1) / unit / 420, 0.4, 1));
    const [w, h] = [(String(people.length).length * 8 + 12) * unit, 20 * unit];
    // Above the head, if there is room.
    const [x, y] = [clamp(x1, 0, width - w), clamp(y1 < h ? y1 : y1 - h, 0, height - h)];
    const [rect, number] = person.tag.children;
    build(rect, { x, y, width: w, height: h, rx: 3 * unit }, []);
    build(number, { x: x + w / 2, y: y + h / 2 }, []);
    write(person, unit, width);
  }
}

/** Puts names on the side away from the keypoint's twin, and below each other if they would overlap. */
function write({ bbox, labels }, unit, width) {
  const taken = [];
  for (const { point: [x, y], twin, text } of [...labels].sort((a, b) => a.point[1] - b.point[1])) {
    const room = (text.textContent.length * 6.5 + 9) * unit;
    const outwards = x < (twin ? twin[0] : (bbox[0] + bbox[2]) / 2);
    const before = (outwards && x > room) || x + room > width;
    const span = before ? [x - room, x] : [x, x + room];
    let top = y;
    for (const other of taken) {
      if (span[0] < other.span[1] && span[1] > other.span[0]) top = Math.max(top, other.top + 13 * unit);
    }
    taken.push({ span, top });
    text.classList.toggle("end", before);
    build(text, { x: x + (before ? -9 : 9) * unit, y: top }, []);
  }
}

// People

const threshold = () => Number($("threshold").value);
const visible = () => shown.people.filter((person) => person.detScore >= threshold());
const summary = () => `${capital(count(visible().length))} found.`;

function filter() {
  $("threshold-value").textContent = threshold().toFixed(2);
  if (!shown) return;
  const people = visible();
  for (const person of shown.people) {
    const out = !people.includes(person);
    person.figure.toggleAttribute("hidden", out);
    person.item.hidden = out;
    person.mark.classList.toggle("in", !out);
  }
  $("count").textContent = capital(count(people.length));
  $("people").hidden = people.length === 0;
  $("nobody").hidden = people.length > 0;
  $("nobody").textContent = shown.people.length
    ? "Nobody has such a high score. Lower the threshold to show weaker detections."
    : "Nobody was found in this image.";
  if (!people.includes(pinned)) pinned = null;
  highlight(pinned);
  say(summary());
}

function pin(person) {
  pinned = pinned === person ? null : person;
  highlight(person);
}

function highlight(person) {
  $("overlay").classList.toggle("focused", Boolean(person));
  for (const each of shown.people) {
    each.figure.classList.toggle("active", each === person);
    each.item.firstChild.classList.toggle("active", each === person);
    each.item.firstChild.setAttribute("aria-pressed", String(each === pinned));
  }
  tabulate(person ?? visible()[0]);
}

/** One row for each keypoint and its twin on the other side. */
function tabulate(person) {
  $("scores").hidden = !person;
  if (!person) return;
  const rows = new Map();
  info.skeleton.keypoints.forEach((name, keypoint) => {
    const bare = name.replace(/^(left|right)_/, "");
    const row = bare === name ? `${name} in the middle` : bare; // Some have a hip between the left and the right one.
    rows.set(row, { ...rows.get(row), bare, [side(name)]: person.kpts[keypoint]?.[2] });
  });
  const cell = (score, span) => {
    if (score === undefined) return html("td");
    const element = html("td", { colspan: span, class: score < FAINT ? "low" : "" }, score.toFixed(2));
    style(element, "--columns", span);
    return style(element, "--score", clamp(score, 0, 1));
  };
  $("scores").caption.textContent = `Keypoint scores of person ${shown.people.indexOf(person) + 1}`;
  $("scores").tBodies[0].replaceChildren(
    ...[...rows.values()].map(({ bare, left, right, middle }) =>
      html(
        "tr", {}, html("th", { scope: "row" }, spaced(bare)),
        ...(middle === undefined ? [cell(left, 1), cell(right, 1)] : [cell(middle, 2)]),
      ),
    ),
  );
}

function showTimes({ stages, total, people }) {
  const rest = total - stages.reduce((sum, { ms }) => sum + ms, 0);
  const parts = stages.map(({ name, ms }, index) => ({ name: capital(name), ms, shade: `shade-${index % 5}` }));
  if (stages.length && rest > 0) parts.push({ name: "Network and browser", ms: rest, shade: "shade-rest" });
  $("time-bar").replaceChildren(...parts.map(({ ms, shade }) => style(html("i", { class: shade }), "--ms", ms)));
  $("stages").replaceChildren(
    ...parts.map(({ name, ms, shade }) =>
      html(
        "tr", {}, html("th", { scope: "row" }, html("span", { class: `swatch ${shade}` }), name),
        html("td", {}, milliseconds(ms)),
      ),
    ),
  );
  $("total").textContent = milliseconds(total);
  $("time-note").textContent =
    `For every person with a score of at least ${LOWEST_SCORE}, here ${people.length}, so that the slider works at once. ` +
    "A higher threshold in the request is faster.";
}

function download() {
  const persons = shown.answer.result.persons.filter((person) => person.detScore >= threshold());
  const content = { ...shown.answer, result: { ...shown.answer.result, persons } };
  const url = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  html("a", { href: url, download: `${shown.name.replace(/\.[^.]*$/, "")}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// Input: file dialog, paste, drag and drop

const choose = () => $("file").click();
const take = (files) => files?.length && analyse(files[0], files[0].name);

$("drop").addEventListener("click", choose);
$("choose").addEventListener("click", choose);
$("camera").addEventListener("click", watch);
$("camera-again").addEventListener("click", watch);
$("stop").addEventListener("click", stopCamera);
$("sample").addEventListener("click", sample);
$("sample-again").addEventListener("click", sample);
$("file").addEventListener("change", () => {
  take([...$("file").files]);
  $("file").value = ""; // The same file may be chosen again.
});
addEventListener("paste", (event) => take(event.clipboardData.files));
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  // Only when the pointer leaves the window.
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});

$("threshold").addEventListener("input", filter);
$("boxes").addEventListener("change", () => $("overlay").classList.toggle("no-boxes", !$("boxes").checked));
$("names").addEventListener("change", () => $("overlay").classList.toggle("with-names", $("names").checked));
$("download").addEventListener("click", download);
$("dismiss").addEventListener("click", forgive);
$("again").addEventListener("click", () => again());
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value);
  $("token").value = "";
  again();
});
new ResizeObserver(() => shown && fit(shown)).observe($("frame"));

function again() {
  forgive();
  retry();
}

async function begin() {
  try {
    await learn();
    filter();
  } catch (error) {
    complain(error, "", begin);
  }
}

$("curl").textContent = [
  "curl --data-binary @people.jpg \\",
  '  -H "Content-Type: image/jpeg" \\',
  `  ${new URL("human-keypoint-detection", location.href)}`,
].join("\n");
begin();
