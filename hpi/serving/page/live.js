// The camera of the browser: a frame goes to the service, its people are drawn on it, and the newest frame is next.

import { $, FAINT, Problem, capital, count, fineness, milliseconds, request, say } from "./common.js";

const SENT_SIDE = 640; // Longest side of what is sent, in pixels: models look at less, and it is small.
const ANSWER_MS = 40_000; // Without an answer for so long, the connection is taken for lost.
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [500, 8_000]; // Before the next try to connect.
const FIGURES_MS = 1_000; // Between two updates of the figures.
const BUSY = [503, 504]; // The next frame may be answered again.
const CASING = "rgb(16 20 27 / 0.75)";
const GOLDEN = (Math.sqrt(5) - 1) / 2; // Steps of the hue by this part of the circle keep neighbours apart.
const REASONS = {
  NotAllowedError: "The browser may not use the camera. Allow it in the settings of this page, beside its address.",
  NotFoundError: "No camera was found. Connect one.",
  NotReadableError: "The camera does not start. Another program may be using it.",
};

let running = null; // The AbortController of the camera.

export function stopCamera() {
  running?.abort();
}

/** Shows the camera with its people until it is stopped; fails with a Problem that says what to do. */
export async function runCamera(info) {
  stopCamera();
  const controller = (running = new AbortController());
  const stopped = new Promise((resolve) => atEnd(controller.signal, resolve));
  try {
    await Promise.race([stopped, show(info, controller.signal)]);
  } finally {
    controller.abort();
  }
}

const atEnd = (signal, action) => (signal.aborted ? action() : signal.addEventListener("abort", action));

async function show(info, signal) {
  const media = await openCamera();
  const [track] = media.getVideoTracks();
  atEnd(signal, () => track.stop());
  const unplugged = new Promise((_, reject) => {
    track.addEventListener("ended", () => reject(new Problem("The camera was disconnected.")));
  });
  await Promise.race([unplugged, follow(media, info, signal)]);
}

async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Problem("Browsers give the camera to pages of https or localhost only.", { again: false });
  }
  say("Waiting for the camera …");
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  } catch ({ name, message }) {
    throw new Problem(REASONS[name] ?? `The camera does not start: ${message}`);
  }
}

/** Sends frames and draws answers; a connection that is lost is opened again. */
async function follow(media, { skeleton, tracker }, signal) {
  const video = Object.assign(document.createElement("video"), { srcObject: media, muted: true, playsInline: true });
  await video.play();
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    let socket;
    try {
      socket = await openStream(signal);
      if (tracker) socket.send(JSON.stringify({ smooth: "oneeuro" }));
      say("The camera is on.");
      const figures = new Figures();
      while (!signal.aborted) {
        await nextFrame(video);
        const { picture, jpeg } = await take(video);
        const start = performance.now();
        const answer = await answerTo(socket, jpeg);
        if (BUSY.includes(answer.errorCode)) {
          picture.close(); // Else its memory is taken until the browser tidies up.
          continue;
        }
        if (answer.errorCode) throw new Problem(answer.errorMsg, { status: answer.errorCode, logId: answer.logId });
        if (signal.aborted) return;
        draw(picture, answer.persons, skeleton);
        figures.add(answer, performance.now() - start);
        pause = FIRST_PAUSE_MS;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem) || error.status) throw error;
      say(`${error.message} Trying again …`);
      $("camera-picture").classList.add("stale");
      await new Promise((resolve) => setTimeout(resolve, pause));
      pause = Math.min(2 * pause, LAST_PAUSE_MS);
    } finally {
      socket?.close();
    }
  }
}

// The connection

async function openStream(signal) {
  const url = new URL("stream", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const token = sessionStorage.getItem("token");
  const encoded = token && btoa(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const socket = new WebSocket(url, token ? ["hpi", `hpi.bearer.${encoded}`] : ["hpi"]);
  atEnd(signal, () => socket.close());
  const opened = await new Promise((resolve) => {
    socket.onopen = () => resolve(true);
    socket.onclose = () => resolve(false);
  });
  return opened ? socket : refusal();
}

/** Browsers do not say why a WebSocket was refused; a request to the same address does. */
async function refusal() {
  try {
    await request("stream");
  } catch (error) {
    if (error.status !== 426) throw error;
  }
  throw new Problem("No WebSocket to the service can be opened. A proxy in between must pass it on.", { status: 426 });
}

function answerTo(socket, jpeg) {
  return new Promise((resolve, reject) => {
    const lost = () => reject(new Problem("The connection was lost."));
    const timer = setTimeout(lost, ANSWER_MS);
    socket.onclose = lost;
    socket.onmessage = ({ data }) => {
      clearTimeout(timer);
      resolve(JSON.parse(data));
    };
    if (socket.readyState === WebSocket.OPEN) socket.send(jpeg);
    else lost();
  });
}

// Frames

const nextFrame = (video) =>
  new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
    else requestAnimationFrame(resolve);
  });

/** What the camera shows now: as a picture to draw on, and smaller as a JPEG. */
async function take(video) {
  const picture = await createImageBitmap(video);
  const share = Math.min(1, SENT_SIDE / Math.max(picture.width, picture.height));
  const small = document.createElement("canvas");
  Object.assign(small, { width: Math.round(share * picture.width), height: Math.round(share * picture.height) });
  small.getContext("2d").drawImage(picture, 0, 0, small.width, small.height);
  const jpeg = await new Promise((resolve) => small.toBlob(resolve, "image/jpeg", 0.85));
  return { picture: Object.assign(picture, { share: small.width / picture.width }), jpeg };
}

// Drawing

function draw(picture, persons, skeleton) {
  const canvas = $("camera-picture");
  const { width, height, share } = picture;
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
    $("camera-frame").style.setProperty("--ratio", width / height);
  }
  canvas.classList.remove("stale");
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(picture, 0, 0);
  picture.close();
  context.setTransform(1 / share, 0, 0, 1 / share, 0, 0); // Answers are in pixels of what was sent.
  const unit = (share * width) / (canvas.clientWidth || width);
  for (const person of persons) drawPerson(context, person, skeleton, unit);
}

/** `unit` is a pixel of the screen in pixels of the answer; small people get thin lines. */
function drawPerson(context, { bbox, kpts, kptsSmoothed, trackId }, skeleton, unit) {
  const points = kptsSmoothed ?? kpts;
  const [x1, y1, x2, y2] = bbox;
  const line = unit * fineness(skeleton) * Math.min(Math.max(Math.hypot(x2 - x1, y2 - y1) / unit / 420, 0.4), 1);
  const followed = Number.isInteger(trackId);
  const color = followed ? `hsl(${((trackId * GOLDEN) % 1) * 360} 100% 70%)` : "#fff";
  const lines = skeleton.edges.map(([a, b]) => [points[a], points[b]]);
  context.lineCap = "round";
  for (const [stroke, width] of [[CASING, 6], [color, 3.5]]) {
    Object.assign(context, { strokeStyle: stroke, lineWidth: width * line });
    for (const [[ax, ay, aScore], [bx, by, bScore]] of lines) {
      context.globalAlpha = Math.min(aScore, bScore) < FAINT ? 0.3 : 1;
      context.beginPath();
      context.moveTo(ax, ay);
      context.lineTo(bx, by);
      context.stroke();
    }
  }
  context.fillStyle = color;
  for (const [x, y, score] of points) {
    context.globalAlpha = score < FAINT ? 0.3 : 1;
    context.beginPath();
    context.arc(x, y, 3.5 * line, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
  if (followed) drawTag(context, `${trackId}`, color, bbox, unit);
}

/** The id above the person, where there is room. */
function drawTag(context, text, color, [x, y], unit) {
  context.font = `650 ${14 * unit}px system-ui, sans-serif`;
  const [width, height] = [context.measureText(text).width + 12 * unit, 20 * unit];
  const [left, top] = [Math.max(0, x), Math.max(0, y - height)];
  context.fillStyle = color;
  context.fillRect(left, top, width, height);
  Object.assign(context, { fillStyle: "#10141b", textBaseline: "middle", textAlign: "center" });
  context.fillText(text, left + width / 2, top + height / 2 + unit);
}

/** Frames a second and latency, since they were shown last. */
class Figures {
  answers = [];
  shown = performance.now();

  add(answer, latency) {
    this.answers.push({ latency, service: answer.milliseconds.total });
    const elapsed = performance.now() - this.shown;
    if (elapsed < FIGURES_MS) return;
    const mean = (name) => this.answers.reduce((sum, one) => sum + one[name], 0) / this.answers.length;
    $("rate").textContent = ((1000 * this.answers.length) / elapsed).toFixed(1);
    $("latency").textContent = milliseconds(mean("latency"));
    $("in-service").textContent = milliseconds(mean("service"));
    say(`The camera is on. ${capital(count(answer.persons.length))}.`);
    Object.assign(this, { answers: [], shown: performance.now() });
  }
}
