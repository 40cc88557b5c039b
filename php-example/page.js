// What the examples' pages have in common: one socket, a log, and forms that send.
//
//   <main data-route="/ws/x">      the route; opened at once unless there is a data-connect form
//   <form data-connect>            its single field is appended to the route, then it opens
//   <form data-send="json|text">   sends its fields as one object, or its first field as it is
//   <button data-json='{…}'>       sends this text
//   <button data-binary="00 ff">   sends these bytes

const main = document.querySelector("main");
const log = main.querySelector(".log");
const connectForm = main.querySelector("form[data-connect]");
let socket;

function note(kind, text) {
  const entry = document.createElement("li");
  entry.className = kind;
  const time = document.createElement("time");
  time.textContent = new Date().toTimeString().slice(0, 8);
  const body = document.createElement("span");
  body.textContent = text;
  entry.append(time, body);
  log.append(entry);
  while (log.children.length > 200) log.firstChild.remove();
  log.scrollTop = log.scrollHeight;
}

function kindOf(text) {
  try {
    return JSON.parse(text)?.error?.code ? "error" : "in";
  } catch {
    return "in";
  }
}

function bytes(buffer) {
  const hex = [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${hex.length} bytes: ${hex.slice(0, 32).join(" ")}${hex.length > 32 ? " …" : ""}`;
}

function open() {
  socket?.close(1000);
  const field = connectForm?.querySelector("input");
  const path = main.dataset.route + (field ? encodeURIComponent(field.value) : "");
  const mine = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  mine.binaryType = "arraybuffer";
  mine.onopen = () => note("event", `connected to ${path}`);
  mine.onclose = (event) => note("event", `closed: ${event.code} ${event.reason}`.trim());
  mine.onmessage = ({ data }) =>
    typeof data === "string" ? note(kindOf(data), data) : note("in", bytes(data));
  socket = mine;
  return mine;
}

function send(data) {
  if (socket?.readyState !== WebSocket.OPEN) {
    // A socket that was closed is opened again by the next thing there is to say.
    if (connectForm && !socket) return note("event", "not connected");
    return open().addEventListener("open", () => send(data));
  }
  note("out", typeof data === "string" ? data : bytes(data));
  socket.send(data);
}

main.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (form === connectForm) return open();
  const fields = Object.fromEntries(new FormData(form));
  send(form.dataset.send === "json" ? JSON.stringify(fields) : Object.values(fields)[0]);
});

main.addEventListener("click", ({ target }) => {
  if (target.dataset.json) send(target.dataset.json);
  if (target.dataset.binary) {
    send(Uint8Array.from(target.dataset.binary.split(" "), (hex) => parseInt(hex, 16)).buffer);
  }
});

if (!connectForm) open();
