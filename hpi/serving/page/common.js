// What the parts of the page share.

export const FAINT = 0.3; // Keypoints with lower scores are guesses.
const MANY = 30; // More keypoints than these are close together, as those of hands and faces.
export const fineness = ({ keypoints }) => (keypoints.length > MANY ? 0.4 : 1); // Of lines and dots.
export const $ = (id) => document.getElementById(id);

// Elements. Text from the service only ever becomes text nodes.

export function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
export const html = (tag, attributes = {}, ...children) => build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// The policy of the page forbids style attributes; properties that are set here are allowed.
export function style(element, property, value) {
  element.style.setProperty(property, value);
  return element;
}

export function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

export const count = (number) => (number === 1 ? "1 person" : `${number || "no"} people`);
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
export const milliseconds = (value) => `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;

// The service

export class Problem extends Error {
  constructor(message, { status = 0, logId = "", again = true } = {}) {
    super(message);
    Object.assign(this, { status, logId, again });
  }
}

export async function request(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response, answer;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service cannot be reached.");
  }
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    answer = { errorCode: response.status, errorMsg: `HTTP ${response.status} ${response.statusText}` };
  }
  if (response.ok && !answer.errorCode) return { answer, response };
  const wait = response.headers.get("Retry-After");
  const advice = wait ? ` (wait ${wait}${/^\d+$/.test(wait) ? " s" : ""} before the next try)` : "";
  const { status } = response;
  const again = status === 429 || status >= 500;
  throw new Problem(`${answer.errorMsg ?? `HTTP ${status}`}${advice}`, { status, logId: answer.logId, again });
}
