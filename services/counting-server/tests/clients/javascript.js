// A client as in the field, written with the official package socket.io-client:
// javascript.js URL TRANSPORTS LAST.
//
// It takes its role and the place where it begins from its first client_assigned only, counts on by
// itself up to LAST, and ends when it is disconnected. It prints what the server answers.
"use strict";
const { io } = require("socket.io-client");

const [url, transports, last] = process.argv.slice(2);
const socket = io(url, { transports: transports.split(","), reconnection: false });
let role, number;
let isRunning = false;

socket.on("client_assigned", ({ client_id, last_number }) => {
    if (role) return;
    role = client_id;
    number = last_number || (role === "client1" ? 1 : 2);
    console.log(`role ${role} ${number}`);
});
socket.on("start_game", (...data) => {
    console.log(`start ${data.length}`);
    isRunning = true;
});
socket.on("stop_game", (...data) => {
    console.log(`stop ${data.length}`);
    isRunning = false;
});
socket.on("connect_error", (error) => {
    console.log(`refused ${error.message}`);
    process.exit(1);
});
socket.on("disconnect", (reason) => {
    console.log(`disconnected ${reason}`);
    process.exit(0);
});

setInterval(() => {
    if (!isRunning || number > Number(last)) return;
    const sent = number;
    socket.emit("number", { client_id: role, number: sent }, (answer) => {
        console.log(`answer ${sent} ${JSON.stringify(answer)} by ${socket.io.engine.transport.name}`);
    });
    number += 2;
}, 20);
