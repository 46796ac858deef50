// A client that comes back by itself, written with the official package socket.io-client:
// returning.js URL TRANSPORTS LAST.
//
// It takes its role and the place where it begins from its first client_assigned only, counts on
// over every reconnect, and ends when the server has disconnected it. The package keeps what is
// sent without a connection, and sends it after the next one.
"use strict";
const { io } = require("socket.io-client");

const [url, transports, last] = process.argv.slice(2);
const socket = io(url, { transports: transports.split(","), reconnectionDelay: 50, reconnectionDelayMax: 100 });
let role, number;

socket.on("connect", () => console.log("connected"));
socket.on("client_assigned", ({ client_id, last_number }) => {
    if (role) return;
    role = client_id;
    number = last_number || (role === "client1" ? 1 : 2);
});
socket.on("disconnect", (reason) => {
    console.log(`disconnected ${reason}`);
    if (reason === "io server disconnect") process.exit(0);
});

setInterval(() => {
    if (!role || number > Number(last)) return;
    const sent = number;
    socket.emit("number", { client_id: role, number: sent }, () => console.log(`answer ${sent}`));
    number += 2;
}, 20);
