// The chat's page. It speaks wsgate.v1.json: one object a frame, with an id for what is asked.

const byId = (id) => document.getElementById(id);
const log = document.querySelector(".log");
const people = new Map(); // connection id -> name
let socket;
let seen; // the offset of the last message shown, once the kept ones are there

function note(kind, time, text) {
  const entry = document.createElement("li");
  entry.className = kind;
  const when = document.createElement("time");
  when.textContent = time;
  const what = document.createElement("span");
  what.textContent = text;
  entry.append(when, what);
  log.append(entry);
  log.scrollTop = log.scrollHeight;
}

const now = () => new Date().toTimeString().slice(0, 8);
const said = ({ from, text, at }) => note("in", at, `${from}: ${text}`);

function showPeople() {
  byId("online").textContent = [...people.values()].sort().join(", ") || "nobody yet";
}

function received(frame, channel) {
  if (frame.error) return note("error", now(), `${frame.error.code} ${frame.error.message}`);
  if (frame.history) {
    frame.history.publications.forEach(({ data }) => said(data));
    seen = frame.history.position.offset;
  }
  if (frame.presence) frame.presence.clients.forEach(({ id, user }) => people.set(id, user));
  if (frame.join) people.set(frame.join.id, frame.join.user);
  if (frame.leave) people.delete(frame.leave.id);
  if (frame.presence || frame.join || frame.leave) return showPeople();
  // What is said before the kept messages have come is one of them.
  if (frame.channel === channel && frame.offset > seen) {
    seen = frame.offset;
    said(frame.data);
  }
}

function enter(room, name) {
  socket?.close(1000);
  people.clear();
  seen = undefined;
  log.replaceChildren();
  const url = new URL(`/ws/chat/${room}?name=${name}`, location.href.replace(/^http/, "ws"));
  const channel = `room.${room}`;
  const mine = new WebSocket(url, "wsgate.v1.json");
  mine.onopen = () => {
    note("event", now(), `you are in ${room}`);
    mine.send(JSON.stringify({ id: "history", history: channel, limit: 50 }));
    mine.send(JSON.stringify({ id: "presence", presence: channel }));
    byId("text").focus();
  };
  mine.onmessage = ({ data }) => socket === mine && received(JSON.parse(data), channel);
  mine.onclose = ({ code, reason }) => {
    if (socket === mine) note("event", now(), `closed: ${code} ${reason}`.trim());
  };
  socket = mine;
}

byId("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(byId("room").value, byId("name").value);
});

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (socket?.readyState !== WebSocket.OPEN) return note("error", now(), "first enter a room");
  if (!text) return;
  socket.send(JSON.stringify({ id: "said", send: { text } }));
  byId("text").value = "";
});
