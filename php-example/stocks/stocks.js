// The ticker's page. It speaks wsgate.v1.json: one object a frame, any number of channels.

const STOCKS = ["ACME", "GLOBEX", "INITECH"];
const rows = new Map(); // channel -> the row's cells and the last price
const state = document.querySelector("#state");
let socket;
let pause = 500;

function addRow(stock) {
  const row = document.querySelector("tbody").insertRow();
  const watch = document.createElement("input");
  watch.type = "checkbox";
  watch.checked = true;
  watch.setAttribute("aria-label", `Watch ${stock}`);
  row.insertCell().append(watch);
  row.insertCell().textContent = stock;
  const [price, change, at] = [row.insertCell(), row.insertCell(), row.insertCell()];
  price.className = change.className = "number";
  at.className = "minor";
  price.textContent = "—";
  const channel = `stock.${stock}`;
  rows.set(channel, { watch, price, change, at, last: undefined });
  watch.addEventListener("change", () => say({ [watch.checked ? "subscribe" : "unsubscribe"]: channel }));
}

function say(command) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
}

function show(channel, data) {
  const row = rows.get(channel);
  // Redis and PostgreSQL carry text; what PHP published as JSON comes as a value.
  const { price } = typeof data === "string" ? JSON.parse(data) : data;
  const moved = row.last === undefined ? 0 : price - row.last;
  row.last = price;
  row.price.textContent = price.toFixed(2);
  row.change.textContent = moved ? `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved).toFixed(2)}` : "";
  row.change.classList.toggle("up", moved > 0);
  row.change.classList.toggle("down", moved < 0);
  row.at.textContent = new Date().toTimeString().slice(0, 8);
}

function received(frame) {
  if (frame.error) state.textContent = `${frame.error.code} ${frame.error.message}`;
  if (frame.subscribed) say({ history: frame.subscribed, limit: 1 });
  for (const { data } of frame.history?.publications ?? []) show(frame.history.channel, data);
  if (frame.channel && "data" in frame) show(frame.channel, frame.data);
}

function open() {
  socket = new WebSocket(new URL("/ws/stocks", location.href.replace(/^http/, "ws")), "wsgate.v1.json");
  socket.onopen = () => {
    pause = 500;
    state.textContent = "connected";
    for (const [channel, { watch }] of rows) if (watch.checked) say({ subscribe: channel });
  };
  socket.onmessage = ({ data }) => received(JSON.parse(data));
  socket.onclose = ({ code }) => {
    state.textContent = `closed: ${code}; it comes back`;
    setTimeout(open, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, 30_000);
  };
}

document.querySelector("#tick").addEventListener("click", async () => {
  const answer = await fetch("ticker.php", { method: "POST" });
  state.textContent = (await answer.text()).trim();
});

STOCKS.forEach(addRow);
open();
