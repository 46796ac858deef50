// A counting client written with the official package socket.io-client: client.js URL.
//
// It connects again by itself, begins where each client_assigned says, and waits for each
// acknowledgement. It prints `ack NUMBER` for each number that the server has acknowledged.
"use strict";
const { io } = require("socket.io-client");

const socket = io(process.argv[2], { reconnectionDelay: 100, reconnectionDelayMax: 1000 });
let role, number;
let isRunning = false;
let isWaiting = false;

function send() {
  if (!isRunning || isWaiting) return;
  const sent = number;
  isWaiting = true;
  socket.emit("number", { client_id: role, number: sent }, (answer) => {
    if (answer.ok) console.log(`ack ${sent}`);
    if (number !== sent) return;
    number += 2;
    isWaiting = false;
    setImmediate(send);
  });
}

socket.on("client_assigned", ({ client_id: id, last_number: last }) => {
  role = id;
  number = last > 0 ? last + 2 : id === "client1" ? 1 : 2;
  isWaiting = false;
  send();
});
socket.on("start_game", () => {
  isRunning = true;
  send();
});
socket.on("stop_game", () => {
  isRunning = false;
});
socket.on("connect_error", ({ message }) => {
  console.log(`refused ${message}`);
  // An error of the namespace; errors of the network are tried again.
  if (!socket.active) process.exit(1);
});
socket.on("disconnect", (reason) => {
  console.log(`disconnected ${reason}`);
  isRunning = false;
  if (!socket.active) process.exit(0);
});
