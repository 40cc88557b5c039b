// What the examples' pages have in common: one connection, a log, and forms that send.
//
//   <main data-route="/ws/x">      the route; opened at once unless there is a data-connect form
//   <main data-events="/ws/x">     the same, by EventSource: a page that only listens
//   <form data-connect>            its single field is appended to the route, then it opens
//   <form data-send="json|text">   sends its fields as one object, or its first field as it is
//   <form data-post="x.php">       posts its fields to a PHP page beside this one
//   <button data-json='{…}'>       sends this text
//   <button data-binary="00 ff">   sends these bytes

const main = document.querySelector("main");
const log = main.querySelector(".log");
const connectForm = main.querySelector("form[data-connect]");
let connection;

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
  connection?.close(1000);
  const field = connectForm?.querySelector("input");
  const path = (main.dataset.route ?? main.dataset.events) +
    (field ? encodeURIComponent(field.value) : "");
  connection = main.dataset.events ? listen(path) : connect(path);
  return connection;
}

function connect(path) {
  const socket = new WebSocket(new URL(path, location.href.replace(/^http/, "ws")));
  socket.binaryType = "arraybuffer";
  socket.onopen = () => note("event", `connected to ${path}`);
  socket.onclose = (event) => note("event", `closed: ${event.code} ${event.reason}`.trim());
  socket.onmessage = ({ data }) =>
    typeof data === "string" ? note(kindOf(data), data) : note("in", bytes(data));
  return socket;
}

function listen(path) {
  const source = new EventSource(path);
  source.onopen = () => note("event", `listening to ${path}`);
  source.onmessage = ({ data }) => note(kindOf(data), data);
  source.addEventListener("gap", () => note("event", "some messages may have been missed"));
  source.onerror = () =>
    note("event", source.readyState === EventSource.CLOSED ? "refused" : "gone; it comes back");
  return source;
}

function send(data) {
  if (connection?.readyState !== WebSocket.OPEN) {
    // A socket that was closed is opened again by the next thing there is to say.
    if (connectForm && !connection) return note("event", "not connected");
    return open().addEventListener("open", () => send(data));
  }
  note("out", typeof data === "string" ? data : bytes(data));
  connection.send(data);
}

async function post(form) {
  const body = new URLSearchParams(new FormData(form));
  note("out", `POST ${form.dataset.post} ${[...body].map((pair) => pair.join("=")).join(" ")}`.trim());
  const answer = await fetch(form.dataset.post, { method: "POST", body });
  note(answer.ok ? "event" : "error", `${answer.status} ${(await answer.text()).trim()}`);
}

main.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (form === connectForm) return open();
  if (form.dataset.post) return post(form);
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
